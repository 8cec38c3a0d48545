"""A collection of many segments searches as one segment of the same documents would, whatever came before."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.errors import CollectionDeleted, CollectionError, CollectionUnwritable, EncodingError
from retrieval.index.first_stage import BOTH
from retrieval.index.passage_index import Model
from retrieval.index.segment import Segment
from retrieval.index.segment import build as build_segment
from retrieval.store import compaction, indexer
from retrieval.store.collection import Collection, CollectionSettings, create_in, remove
from retrieval.store.compaction import damaged, merge, repair, sweep
from retrieval.store.indexer import build, index_all, index_waiting, indexing
from retrieval.store.jobs import Writing
from retrieval.store.rows import Document
from retrieval.text.bm25 import QueryTerms
from retrieval.text.passages import TRAITS, Passage
from retrieval.text.splitters import Chunking
from tests.conftest import COUNT

ENCODER = HashEncoder()
SOURCE = {"source": "x" * 4000}
MODEL = Model(ENCODER.name, ENCODER.digest, ENCODER.arithmetic, ENCODER.max_tokens)
WORDS = ["owl", "dusk", "river", "stone", "song", "market"]
QUERIES = ("owl song", "river", "stone market dusk", "absent")
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"),
            st.dictionaries(
                st.sampled_from("abcdefgh"),
                st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join),
                min_size=1,
                max_size=4,
            ),
        ),
        st.tuples(st.just("delete"), st.lists(st.sampled_from("abcdefgh"), max_size=3)),
        st.tuples(st.just("index"), st.integers(1, 4)),
        st.tuples(st.just("merge"), st.booleans()),
    ),
    min_size=3,
    max_size=14,
)


def quiet(*_) -> None:
    pass


@pytest.fixture
def collection(tmp_path):
    Collection.create(tmp_path / "birds", CollectionSettings(MODEL))
    return Collection(tmp_path / "birds")


LONG = Document("long", " ".join(f"stone{at}" for at in range(100)) + " owl", "river")


def test_a_long_document_is_its_chunks_until_it_is_replaced_or_deleted(tmp_path):
    Collection.create(tmp_path / "c", CollectionSettings(MODEL, "en", Chunking("token", 40)))
    collection = Collection(tmp_path / "c")
    collection.put([Document("a", "dusk"), LONG, Document("b", "owl song")])
    counted = list[int]()
    index_waiting(collection, ENCODER, counted.append)
    assert sum(counted) == 3
    snapshot = collection.snapshot()
    chunks = [passage for passage in snapshot.passages(np.arange(len(snapshot))) if passage.id == "long"]
    assert [passage.title for passage in chunks] == ["river"] * 3
    assert "".join(passage.text for passage in chunks) == LONG.text
    assert all(passage.text == LONG.text[slice(*passage.chunk)] for passage in chunks)
    assert snapshot.owners(np.arange(5)).tolist() == [0, 1, 1, 1, 2]
    assert snapshot.owners(np.array([4, 2])).tolist() == [2, 1]
    collection.put([Document("long", "market")])
    index_waiting(collection, ENCODER, quiet)
    merge(collection, all_of_it=True)
    snapshot = collection.snapshot()
    assert [passage.id for passage in snapshot.passages(np.flatnonzero(snapshot.live))] == ["a", "b", "long"]
    assert snapshot.owners(np.flatnonzero(snapshot.live)).tolist() == [0, 1, 2]


def test_as_many_documents_are_indexed_at_once_as_memory_allows(collection):
    collection.put(Document(str(at), "é" * 10) for at in range(5))
    assert [len(collection.documents.waiting(*bounds)) for bounds in ((5, 1), (5, 20), (5, 41), (2, 99), (9, 999))] == [
        *(1, 1, 2, 2, 5)
    ]


def found(index, query: str, k: int = 5) -> list[str]:
    positions = BOTH.search(index, ENCODER.encode([query]).pooled[0], index.words(QueryTerms.of(query)), k)
    return [passage.id for passage in index.passages(positions)]


def nearest_beside_another(snapshot, vector, k: int):
    """The nearest, found in one search with those of another vector."""
    find, _ = snapshot.announce(lambda: vector, k), snapshot.announce(lambda: -vector, k)
    return find(k)


def assert_searches_alike(snapshot, segment: Segment) -> None:
    """By meaning, by words and by both; states, traits and matches are those of fresh ones."""
    for query in QUERIES:
        vector, terms = ENCODER.encode([query]).pooled[0], QueryTerms.of(query)
        our_words, their_words = snapshot.words(terms), segment.words(terms)
        for k in (1, 3, 20):
            for ours, theirs in (
                (snapshot.nearest(vector, k), segment.nearest(vector, k)),
                (nearest_beside_another(snapshot, vector, k), segment.nearest(vector, k)),
                (our_words.best(k), their_words.best(k)),
            ):
                assert snapshot.passages(ours) == segment.passages(theirs)
                np.testing.assert_array_equal(snapshot.states(ours).tokens, segment.states(theirs).tokens)
                np.testing.assert_array_equal(snapshot.traits(ours), segment.traits(theirs))
                for a, b in zip(astuple(our_words.matches(ours)), astuple(their_words.matches(theirs)), strict=True):
                    np.testing.assert_array_equal(a, b)
            assert found(snapshot, query, k) == found(segment, query, k)


@settings(max_examples=30, deadline=None)
@given(STEPS)
def test_it_searches_as_one_segment_of_the_same_documents(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("store")
    Collection.create(folder / "c", CollectionSettings(MODEL))
    collection = Collection(folder / "c")
    for step, what in steps:
        if step == "put":
            collection.put(Document(i, text) for i, text in what.items())
        elif step == "delete":
            collection.delete(what)
        elif step == "index":
            index_waiting(collection, ENCODER, quiet, what)
        else:
            merge(collection, all_of_it=what)
    while index_waiting(collection, ENCODER, quiet, 2):
        pass
    documents = [document for _, document in collection.page(0, 100)]
    snapshot = collection.snapshot()
    assert snapshot.live.sum() == len(documents)
    if documents:
        passages = [Passage(document.id, "", document.text) for document in documents]
        build_segment(folder / "segment", passages, ENCODER, quiet)
        assert_searches_alike(snapshot, Segment(folder / "segment"))
    else:
        assert found(snapshot, "owl") == []
    assert {int(path.name) for path in (folder / "c" / "segments").iterdir()} >= {
        part.number for part in snapshot.parts
    }
    shutil.rmtree(folder)


def test_nothing_is_found_in_an_empty_collection(collection):
    snapshot, nothing = collection.snapshot(), np.zeros(0, dtype=np.int64)
    words = snapshot.words(QueryTerms.of("owl"))
    assert (len(snapshot.nearest(ENCODER.encode(["owl"]).pooled[0], 5)), len(words.best(5))) == (0, 0)
    assert snapshot.traits(nothing).dtype == TRAITS
    assert [len(each) for each in (words.matches(nothing).scores, snapshot.owners(nothing))] == [0, 0]
    assert (len(snapshot.states(nothing)), len(snapshot.is_cut(nothing))) == (0, 0)


def test_small_segments_are_merged_and_their_folders_removed(collection):
    for at in range(20):
        collection.put([Document(str(at), f"owl {at}")])
        index_all(collection, ENCODER, quiet)
    assert len(collection.snapshot().parts) < 12
    assert sorted(found(collection.snapshot(), "owl", 30)) == sorted(str(at) for at in range(20))
    known = {str(part.number) for part in collection.snapshot().parts}
    assert {path.name for path in (collection.folder / "segments").iterdir()} == known


def test_few_segments_are_left_whatever_their_sizes_are(collection):
    for size in [1, 20] * 12:
        collection.put(Document(f"{size} {at} {collection.counts().documents}", "an owl") for at in range(size))
        index_waiting(collection, HashEncoder(), quiet)
        merge(collection)
    assert len(collection.snapshot().parts) < 10
    assert collection.counts().passages == 252


@pytest.mark.parametrize(("passages", "most"), [(100_000, 20), (1_000_000, 23)])
def test_the_segments_of_a_large_collection_are_as_few_as_is_said(passages, most):
    """docs/collections.md tells how many files they hold open."""
    drawn = random.Random(1)  # noqa: S311 - the same in every run
    for smallest in (1, indexer.DOCUMENTS):
        sizes = list[int]()
        while sum(sizes) < passages:
            sizes.append(int(drawn.uniform(smallest, indexer.DOCUMENTS)))
            for first in range(len(sizes) - compaction._FANOUT + 1):
                if count := compaction._mergeable(sizes[first:]):
                    sizes[first : first + count] = [sum(sizes[first : first + count])]
                    break
            assert len(sizes) <= most


def test_space_is_given_back(collection):
    collection.put(Document(str(at), f"owl {at} " * 50) for at in range(300))
    index_all(collection, ENCODER, quiet)
    full = collection.bytes()
    collection.delete(str(at) for at in range(250))
    assert merge(collection)
    assert collection.bytes() < full / 1.5
    assert not merge(collection, all_of_it=True), "there is nothing left to do"
    collection.delete(str(at) for at in range(250, 300))
    assert merge(collection)
    assert len(collection.snapshot()) == 0
    assert list((collection.folder / "segments").iterdir()) == []


@pytest.mark.parametrize("size", [200, pytest.param(20_000, marks=pytest.mark.soak)])
def test_churn_leaves_what_is_alive_and_compacting_gives_the_space_back(collection, tmp_path, size, record_property):
    """Half is deleted and a third written anew, ten times."""
    chance, since = random.Random(3), time.perf_counter()  # noqa: S311 - the same in every run
    texts = {f"{at}": f"owl {at} " * 20 for at in range(size)}
    collection.put(Document(i, text, "", SOURCE) for i, text in texts.items())
    for round_ in range(10):
        gone = chance.sample(sorted(texts), len(texts) // 2)
        collection.delete(gone)
        new = {str(chance.randrange(size)): f"owl {at} of round {round_} " * 20 for at in range(size // 3)}
        collection.put(Document(i, text, "", SOURCE) for i, text in new.items())
        texts = {i: text for i, text in texts.items() if i not in gone} | new
        index_all(collection, ENCODER, quiet)
        snapshot = collection.snapshot()
        passages = snapshot.passages(np.flatnonzero(snapshot.live))
        assert {passage.id: passage.text for passage in passages} == texts
        assert len(passages) == len(texts)
    churned, before = time.perf_counter() - since, collection.bytes()
    merge(collection, all_of_it=True)
    collection.shrink()
    fresh = [Document(i, text, "", SOURCE) for i, text in texts.items()]
    build(tmp_path / "fresh", fresh, ENCODER, quiet)
    fresh = Collection(tmp_path / "fresh")
    fresh.shrink()
    after = collection.bytes()
    assert after < 1.2 * fresh.bytes()
    assert damaged(collection) == {}
    sizes = f"{before / 2**20:.1f} MiB, compacted {after / 2**20:.1f}, built anew {fresh.bytes() / 2**20:.1f}"
    told = f"{len(texts)} are left, {len(passages)} found; {sizes}; {churned:.0f} s for ten rounds"
    record_property(COUNT, f"churn of {size} documents: {told}")
    database = collection.folder / "documents.sqlite"
    full = database.stat().st_size
    collection.delete(sorted(texts)[size // 20 :])
    index_all(collection, ENCODER, quiet)
    assert database.stat().st_size < full / 2, "also without being compacted"


def test_a_snapshot_goes_on_when_its_segments_are_merged_and_removed(collection):
    for at in range(3):
        collection.put([Document(str(at), "owl")])
        index_waiting(collection, ENCODER, quiet)
    before = collection.snapshot()
    collection.delete(["1"])
    merge(collection, all_of_it=True)
    assert found(before, "owl") == ["0", "1", "2"]
    assert found(collection.snapshot(), "owl") == ["0", "2"]


def test_another_process_sees_what_was_written(disk, collection):
    other = Collection(collection.folder)
    named = "rollback journal, on a network file system (nfs4)" if disk else "write-ahead log"
    assert other.journal() == named
    assert other.snapshot() is other.snapshot()
    collection.put([Document("a", "owl")])
    index_waiting(collection, ENCODER, quiet)
    assert found(other.snapshot(), "owl") == ["a"]
    collection.delete(["a"])
    assert found(other.snapshot(), "owl") == []


def test_readers_see_whole_writes_while_others_write(disk, collection):
    with ThreadPoolExecutor(1) as pool:

        def write() -> None:
            for at in range(12):
                collection.put(Document(f"{at}-{part}", f"owl {at}") for part in range(2))
                index_waiting(collection, ENCODER, quiet)
                merge(collection)

        reader, written, seen = Collection(collection.folder), pool.submit(write), [0]
        while not written.done():
            seen.append(len(found(reader.snapshot(), "owl", 99)))
            assert reader.counts().documents % 2 == 0
        written.result()
    assert seen == sorted(seen)
    assert all(count % 2 == 0 for count in seen)
    assert len(found(reader.snapshot(), "owl", 99)) == 24


def test_a_disk_without_locks_is_said(collection, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(CollectionUnwritable, match="birds cannot be locked: No locks available"), indexing(collection):
        pass


def test_one_at_a_time_indexes(collection):
    with indexing(collection) as first, indexing(Collection(collection.folder)) as second:
        assert (first, second) == (True, False)
    with indexing(collection) as again:
        assert again


@pytest.mark.parametrize("poisoned", [[0], [4], [0, 1, 8], list(range(9))])
def test_documents_that_the_model_cannot_encode_are_set_aside_and_the_others_found(collection, poisoned):
    class Choosy(HashEncoder):
        def tokenize(self, texts, *role):
            if any("poison" in text for text in texts):
                raise EncodingError("no tokens for a text")
            return super().tokenize(texts, *role)

    collection.put(Document(str(at), "owl poison" if at in poisoned else "owl") for at in range(9))
    index_all(collection, Choosy(), quiet)
    counts = collection.counts()
    assert (counts.documents, counts.waiting, counts.failed) == (9, 0, len(poisoned))
    assert sorted(found(collection.snapshot(), "owl", 20)) == [str(at) for at in range(9) if at not in poisoned]
    collection.put(Document(str(at), "owl mended") for at in poisoned)
    index_all(collection, Choosy(), quiet)
    assert (collection.counts().failed, collection.counts().passages) == (0, 9)


def test_a_document_that_could_not_be_encoded_is_tried_again_when_it_comes_again(collection):
    works = False

    class Flaky(HashEncoder):
        def tokenize(self, texts, *role):
            if not works and any("bad" in text for text in texts):
                raise EncodingError("no tokens for a text")
            return super().tokenize(texts, *role)

    sent = [Document("good", "owl"), Document("bad", "bad owl")]
    for _ in range(2):
        assert "bad" in collection.put(sent, Writing("job"))
        index_all(collection, Flaky(), quiet)
        assert (collection.counts().failed, collection.job("job").failed) == (1, 1)
    works = True
    assert collection.put(sent) == ["bad"]
    index_all(collection, Flaky(), quiet)
    assert sorted(found(collection.snapshot(), "owl")) == ["bad", "good"]
    assert (collection.counts().failed, collection.put(sent)) == (0, [])


@pytest.mark.parametrize("change", [lambda of: of.delete(["bad"]), lambda of: of.put([Document("bad", "owl")])])
def test_a_document_is_not_set_aside_for_another_one_that_was_deleted_or_mended_meanwhile(collection, change):
    client = Collection(collection.folder)

    class Choosy(HashEncoder):
        def tokenize(self, texts, *role):
            if any("poison" in text for text in texts):
                if len(texts) == 1:
                    change(client)
                raise EncodingError("no tokens for a text")
            return super().tokenize(texts, *role)

    collection.put([Document("first", "owl"), Document("bad", "owl poison"), Document("good", "owl")])
    index_all(collection, Choosy(), quiet)
    counts = collection.counts()
    assert (counts.passages, counts.failed) == (counts.documents, 0)


def test_another_models_documents_are_not_indexed(collection):
    class Other(HashEncoder):
        digest = "other"

    collection.put([Document("a", "owl")])
    with pytest.raises(CollectionError, match="was made with another version"):
        index_waiting(collection, Other(), quiet)
    assert collection.counts().waiting == 1


@pytest.mark.parametrize("damage", ["removed", "cut", "rotten"])
def test_a_damaged_segment_is_derived_again(collection, damage):
    for text in ("an owl", "a lamp"):
        collection.put([Document(text, text)])
        index_waiting(collection, ENCODER, quiet)
    folder = collection.segment_folder(1)
    if damage == "removed":
        shutil.rmtree(folder)
    elif damage == "cut":
        os.truncate(folder / "tokens.bin", 3)
    else:
        (folder / "pooled.npy").write_bytes((folder / "pooled.npy").read_bytes()[:-100] + bytes(100))
    assert list(damaged(collection)) == [1]
    assert list(repair(collection)) == [1]
    index_all(collection, ENCODER, quiet)
    assert damaged(collection) == {}
    assert sorted(found(Collection(collection.folder).snapshot(), "owl lamp")) == ["a lamp", "an owl"]


def test_a_damaged_segment_says_how_to_mend_it(collection):
    collection.put([Document("a", "owl")])
    index_waiting(collection, ENCODER, quiet)
    (collection.segment_folder(1) / "spec.json").write_text("{")
    with pytest.raises(CollectionError, match=r"index verify birds --repair` mends it"):
        Collection(collection.folder).snapshot().check_whole()
    with pytest.raises(CollectionError, match=r"index verify birds --repair` mends it"):
        merge(Collection(collection.folder), all_of_it=True)


def test_a_collection_that_is_deleted_under_a_write_does_not_come_back(collection):
    class Deleting(HashEncoder):
        def encode_tokens(self, tokens):
            remove(collection.folder)
            return super().encode_tokens(tokens)

    collection.put([Document("a", "owl")])
    with pytest.raises(CollectionError):
        index_waiting(collection, Deleting(), quiet)
    assert list(collection.folder.parent.iterdir()) == []


def test_what_is_in_the_place_of_a_deleted_collection_is_left_alone(collection):
    collection.put([Document("old", "an owl")])
    remove(collection.folder)
    Collection.create(collection.folder, collection.settings)
    new = Collection(collection.folder)
    new.put([Document("new", "an owl")])
    index_all(new, HashEncoder(), quiet)
    before = sorted(new.folder.rglob("*"))
    for work in (
        lambda: index_waiting(collection, HashEncoder(), quiet),
        lambda: sweep(collection),
        lambda: indexing(collection).__enter__(),
    ):
        with pytest.raises(CollectionDeleted):
            work()
    assert {*new.folder.rglob("*")} <= {*before, new.folder / "indexer.lock"}
    assert found(new.snapshot(), "owl") == ["new"]


def test_what_a_killed_write_left_is_swept(collection):
    collection.put([Document("a", "owl")])
    index_waiting(collection, ENCODER, quiet)
    shutil.copytree(collection.segment_folder(1), collection.segment_folder(2))
    sweep(collection)
    assert [path.name for path in (collection.folder / "segments").iterdir()] == ["1"]


def test_a_collection_is_made_once_and_removed_at_once(tmp_path):
    chosen = CollectionSettings(MODEL, "de", Chunking("token", 40, 4))
    Collection.create(tmp_path / "c", chosen)
    assert Collection(tmp_path / "c").settings == chosen
    with pytest.raises(FileExistsError):
        Collection.create(tmp_path / "c", CollectionSettings(MODEL))
    remove(tmp_path / "c")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CollectionError, match="cannot be deleted"):
        remove(tmp_path / "c")


def test_a_build_that_fails_leaves_what_was_there(tmp_path):
    build(tmp_path / "c", [Passage("a", "", "owl")], ENCODER, quiet)

    class Failing(HashEncoder):
        def encode_tokens(self, *_):
            raise MemoryError

    with pytest.raises(MemoryError):
        build(tmp_path / "c", [Passage("b", "", "lamp")], Failing(), quiet, replace=True)
    with pytest.raises(CollectionError, match="no passages"):
        build(tmp_path / "c", [], ENCODER, quiet, replace=True)
    assert found(Collection(tmp_path / "c").snapshot(), "owl lamp") == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("replace", [False, True])
def test_a_build_takes_the_place_of_a_collection_that_is_made_meanwhile_only_if_it_may(tmp_path, replace):
    class Slow(HashEncoder):
        def encode_tokens(self, tokens):
            Collection.create(tmp_path / "c", CollectionSettings(MODEL))
            Collection(tmp_path / "c").put([Document("acknowledged", "owl")])
            return super().encode_tokens(tokens)

    refused = pytest.raises(CollectionError, match="c was made meanwhile; --force replaces it")
    with nullcontext() if replace else refused:
        build(tmp_path / "c", [Passage("built", "", "lamp")], Slow(), quiet, replace=replace)
    kept = [document.id for _, document in Collection(tmp_path / "c").page(0, 9)]
    assert kept == ["built" if replace else "acknowledged"]
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_of_two_that_make_a_collection_at_once_one_is_told_that_there_is_one(tmp_path, monkeypatch):
    def overtaken(folder, settings):
        monkeypatch.setattr("retrieval.store.collection.create_in", create_in)
        Collection.create(tmp_path / "c", CollectionSettings(MODEL, "de"))
        create_in(folder, settings)

    monkeypatch.setattr("retrieval.store.collection.create_in", overtaken)
    with pytest.raises(FileExistsError):
        Collection.create(tmp_path / "c", CollectionSettings(MODEL, "en"))
    assert Collection(tmp_path / "c").settings.language == "de"


PROGRAM = """
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from pathlib import Path
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.store import connection
from retrieval.store.collection import Collection
from retrieval.store.rows import Document
from retrieval.store.compaction import merge
from retrieval.store.indexer import index_waiting, indexing

connection.network_file_system = lambda _: sys.argv[2] or None
collection = Collection(Path(sys.argv[1]))
with indexing(collection) as alone:
    assert alone
    for at in range(200):
        collection.put([Document(str(at), f"owl number {at}")])
        print(at, flush=True)  # acknowledged
        if at % 3 == 0:
            index_waiting(collection, HashEncoder(), lambda _: None)
            merge(collection)
"""


@pytest.mark.parametrize(
    ("lines", "disk"),
    [
        (20, None),
        (33, "nfs4"),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in [(1, None), (7, None), (33, None), (58, None), (7, "nfs4")]
        ),
    ],
    indirect=["disk"],
)
def test_what_was_acknowledged_survives_a_kill_and_is_found_once(disk, collection, lines):
    command = [sys.executable, "-c", PROGRAM, str(collection.folder), disk or ""]
    root = Path(indexer.__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as child:  # noqa: S603 - our own
        acknowledged = [child.stdout.readline().strip() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        acknowledged += child.stdout.read().split()
    after = Collection(collection.folder)
    with indexing(after) as alone:
        assert alone, "the lock of a killed process is free"
        sweep(after)
        index_all(after, ENCODER, quiet)
    passages = [passage.id for passage in after.snapshot().passages(np.flatnonzero(after.snapshot().live))]
    assert len(set(passages)) == len(passages) == after.counts().documents
    assert set(acknowledged) <= set(passages)
    assert damaged(after) == {}
    documents = [document for _, document in after.page(0, 1000)]
    whole = [Passage(document.id, "", document.text) for document in documents]
    build_segment(collection.folder.parent / "segment", whole, ENCODER, quiet)
    assert_searches_alike(after.snapshot(), Segment(collection.folder.parent / "segment"))
