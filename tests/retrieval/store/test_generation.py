"""A collection that is encoded with another model while the old one serves."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.errors import EncodingError, WrongModel
from retrieval.index.first_stage import BOTH
from retrieval.index.passage_index import Model
from retrieval.index.token_rows import pack
from retrieval.store.collection import Collection, CollectionSettings
from retrieval.store.compaction import damaged, merge, repair, write_segment
from retrieval.store.indexer import begin_encoding, encode_next, index_all, index_waiting
from retrieval.store.rows import Document
from retrieval.text.bm25 import QueryTerms
from retrieval.text.splitters import Chunking

OLD = HashEncoder()


class New(HashEncoder):
    """Another model: other vectors, another digest."""

    name, digest = "new", "new"

    def forward(self, batch):
        return super().forward([replace(text, ids=text.ids + 1) for text in batch])


class Choosy(New):
    """The other model, which cannot encode one of the documents."""

    def tokenize(self, texts, *role):
        if any("number 3" in text for text in texts):
            raise EncodingError("no tokens for a text")
        return super().tokenize(texts, *role)


NEW = New()
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["owl", "lamp", "song"]))),
        st.tuples(st.just("delete"), st.lists(st.sampled_from("abcdef"), max_size=3)),
        st.tuples(st.just("index"), st.integers(1, 3)),
        st.tuples(st.just("encode"), st.integers(1, 3)),
        st.tuples(st.just("merge"), st.booleans()),
        st.tuples(st.just("repair"), st.none()),
        st.tuples(st.just("cancel"), st.none()),
    ),
    min_size=4,
    max_size=20,
)


def quiet(*_) -> None:
    pass


def model(encoder) -> Model:
    return Model(encoder.name, encoder.digest, encoder.arithmetic, encoder.max_tokens)


@pytest.fixture
def collection(tmp_path):
    Collection.create(tmp_path / "birds", CollectionSettings(model(OLD)))
    collection = Collection(tmp_path / "birds")
    collection.put(Document(str(at), f"owl number {at}") for at in range(10))
    index_all(collection, OLD, quiet)
    return collection


def found(collection: Collection, encoder=OLD) -> list[str]:
    snapshot = collection.snapshot()
    assert snapshot.model.digest == encoder.digest
    positions = BOTH.search(snapshot, encoder.encode(["owl"]).pooled[0], snapshot.words(QueryTerms.of("owl")), 100)
    return sorted(passage.id for passage in snapshot.passages(positions))


def test_the_old_model_serves_until_the_new_one_has_all_documents(collection):
    other, ids = Collection(collection.folder), [str(at) for at in range(10)]
    key = begin_encoding(collection, NEW, model(NEW))
    for done in (4, 8, 10):
        assert encode_next(collection, NEW, quiet, 4)
        job = other.job(key)
        assert (job.status, job.done, job.total) == ("running", done, 10)
        assert (collection.encoding().done, other.encoding().total, other.encoding().model.name) == (done, 10, "new")
        assert found(collection) == found(other) == ids
    before = other.snapshot()
    assert not encode_next(collection, NEW, quiet, 4)
    assert found(collection, NEW) == found(other, NEW) == ids
    assert collection.encoding() is None
    job = other.job(key)
    assert (job.status, job.done, job.total) == ("done", 10, 10)
    assert other.settings.model == model(NEW)
    assert len(before.passages(np.arange(10))) == 10, "a search that began goes on"
    assert {int(path.name) for path in (collection.folder / "segments").iterdir()} == {
        part.number for part in other.snapshot().parts
    }
    assert damaged(collection) == {}


@settings(max_examples=12)
@given(STEPS)
def test_whatever_is_written_meanwhile_both_generations_find_what_is_there(tmp_path_factory, steps):  # noqa: C901
    folder = tmp_path_factory.mktemp("generation") / "c"
    Collection.create(folder, CollectionSettings(model(OLD)))
    collection = Collection(folder)
    texts: dict[str, str] = {}
    for step, what in steps:
        serving = NEW if collection.settings.model.digest == "new" else OLD
        if step == "put":
            collection.put(Document(i, text) for i, text in what.items())
            texts |= what
        elif step == "delete":
            collection.delete(what)
            texts = {i: text for i, text in texts.items() if i not in what}
        elif step == "index":
            index_waiting(collection, serving, quiet, what)
        elif step == "encode":
            begin_encoding(collection, NEW, model(NEW))
            encode_next(collection, NEW, quiet, what)
        elif step == "merge":
            merge(collection, all_of_it=what)
        elif step == "repair":
            collection.segments.forget([row.number for row in collection.segments.all()[:1]])
        else:
            collection.next.cancel()
    begin_encoding(collection, NEW, model(NEW))
    while encode_next(collection, NEW, quiet, 2):
        pass
    index_all(collection, NEW, quiet)
    snapshot = collection.snapshot()
    passages = snapshot.passages(np.flatnonzero(snapshot.live))
    assert {passage.id: passage.text for passage in passages} == texts
    assert len(passages) == len(texts)
    assert (snapshot.model, snapshot.is_whole) == (model(NEW), True)
    fresh = NEW.encode([passage.content for passage in passages]).tokens if passages else np.zeros(0)
    if passages:
        np.testing.assert_array_equal(pack(snapshot.states(np.flatnonzero(snapshot.live)).tokens), pack(fresh))
    assert collection.counts().waiting == 0


def test_it_goes_on_after_a_kill_and_ends_when_it_is_cancelled(collection):
    begin_encoding(collection, NEW, model(NEW))
    encode_next(collection, NEW, quiet, 7)
    collection.close()
    again = Collection(collection.folder)
    encoded = []
    begin_encoding(again, NEW, model(NEW))
    while encode_next(again, NEW, encoded.append, 2):
        pass
    assert sum(encoded) == 3, "what was encoded before is not encoded again"
    assert found(again, NEW) == [str(at) for at in range(10)]
    begin_encoding(again, OLD, model(OLD))
    encode_next(again, OLD, quiet, 7)
    assert again.next.cancel()
    assert not again.next.cancel()
    assert not encode_next(again, OLD, quiet)
    assert found(again, NEW) == [str(at) for at in range(10)]


def test_one_at_a_time_and_only_by_its_model(collection):
    assert begin_encoding(collection, NEW, model(NEW))
    assert begin_encoding(collection, NEW, model(NEW))

    class Third(HashEncoder):
        name, digest = "third", "third"

    assert not begin_encoding(collection, Third(), model(Third()))
    with pytest.raises(WrongModel, match="'new'"):
        encode_next(collection, Third(), quiet)
    assert not begin_encoding(collection, OLD, model(OLD)), "a job that is done would say that it goes on serving"
    assert collection.next.cancel()
    assert collection.job(begin_encoding(collection, OLD, model(OLD))).status == "done"


class Short(New):
    """A model that reads less than the old one."""

    max_tokens = 64


LONG = Document("long", " ".join(f"owl {at}" for at in range(100)))


def split_by(tmp_path, chunking):
    """A collection with a long document, split so."""
    Collection.create(tmp_path / "split", CollectionSettings(Model.of(OLD), chunking=chunking))
    collection = Collection(tmp_path / "split")
    collection.put([LONG])
    index_all(collection, OLD, quiet)
    return collection


@pytest.mark.parametrize("kept", [None, 511], ids=["absent", "as an older version kept it"])
def test_where_no_size_was_chosen_chunks_are_as_long_as_the_next_model_reads(tmp_path, kept):
    collection = split_by(tmp_path, Chunking("token", kept))
    before = collection.counts().passages
    begin_encoding(collection, Short(), model(Short()))
    assert collection.settings.chunking == Chunking("token")
    while encode_next(collection, Short(), quiet):
        pass
    assert (before, collection.counts().passages) == (1, 4)
    begin_encoding(collection, OLD, model(OLD))
    while encode_next(collection, OLD, quiet):
        pass
    assert collection.counts().passages == 1, "and as the one after that reads"


def test_a_chosen_size_that_the_next_model_cannot_read_is_refused_with_the_remedy(tmp_path):
    collection = split_by(tmp_path, Chunking("token", 100))
    told = r"size: from 32 to 63 with this model, got 100, .* `qrerank index export split`, .* --chunk-size"
    with pytest.raises(ValueError, match=told):
        begin_encoding(collection, Short(), model(Short()))
    assert collection.settings.chunking == Chunking("token", 100)
    assert collection.encoding() is None


def test_documents_that_the_next_model_cannot_encode_are_set_aside_at_the_switch(collection):
    begin_encoding(collection, NEW, model(NEW))
    while encode_next(collection, Choosy(), quiet):
        assert collection.counts().failed == 0
    assert (collection.counts().failed, collection.counts().waiting, collection.counts().passages) == (1, 0, 9)
    assert "3" not in found(collection, NEW)


def test_the_older_content_of_a_document_that_is_set_aside_is_not_found_after_the_switch(collection):
    begin_encoding(collection, NEW, model(NEW))
    encode_next(collection, NEW, quiet)
    collection.put([Document("3", "owl number 3, changed")])
    while encode_next(collection, Choosy(), quiet):
        pass
    assert (collection.counts().failed, collection.counts().passages) == (1, 9)
    assert "3" not in found(collection, NEW)


def test_a_batch_of_an_encoding_that_was_cancelled_is_no_part_of_one_that_was_begun_meanwhile(collection):
    client = Collection(collection.folder)

    class Interrupted(New):
        def forward(self, batch):
            assert client.next.cancel()
            begin_encoding(client, NEW, model(NEW))
            return super().forward(batch)

    begin_encoding(collection, NEW, model(NEW))
    encode_next(collection, NEW, quiet, 4)
    assert encode_next(collection, Interrupted(), quiet, 4)
    assert collection.encoding().done == 0
    while encode_next(collection, NEW, quiet, 4):
        pass
    assert found(collection, NEW) == [str(at) for at in range(10)]


def test_an_encoding_that_is_cancelled_while_its_segments_are_merged_ends(collection, monkeypatch):
    client = Collection(collection.folder)

    def cancel_and_write(*segment):
        assert client.next.cancel()
        write_segment(*segment)

    monkeypatch.setattr("retrieval.store.compaction.write_segment", cancel_and_write)
    begin_encoding(collection, NEW, model(NEW))
    while encode_next(collection, NEW, quiet, 1):
        pass
    assert collection.encoding() is None
    assert found(collection) == [str(at) for at in range(10)]


def test_a_segment_that_was_damaged_before_the_switch_is_derived_again_after_it(collection):
    begin_encoding(collection, NEW, model(NEW))
    while encode_next(collection, NEW, quiet, 5):
        pass
    number, _ = [part.number for part in collection.snapshot().parts]
    (collection.segment_folder(number) / "tokens.bin").write_bytes(b"")
    assert list(repair(collection)) == [number]
    index_all(collection, NEW, quiet)
    assert found(collection, NEW) == [str(at) for at in range(10)]


def test_small_segments_of_the_next_generation_are_merged_on_the_way(collection):
    begin_encoding(collection, NEW, model(NEW))
    while encode_next(collection, NEW, quiet, 1):
        collection.delete(["3"])
    assert len(collection.snapshot().parts) <= 3
    assert found(collection, NEW) == [str(at) for at in range(10) if at != 3]
