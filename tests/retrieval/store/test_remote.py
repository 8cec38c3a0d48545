"""What is acknowledged is what Milvus finds, exactly once, whatever is killed; names are mapped safely."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.errors import CollectionError, CollectionTaken, IndexUnavailable
from retrieval.index import milvus as engine
from retrieval.index.milvus import alias_of
from retrieval.index.milvus_client import Milvus, MilvusUrlError, parse_url
from retrieval.index.passage_index import Model
from retrieval.store import indexer
from retrieval.store.collection import Collection, CollectionSettings
from retrieval.store.compaction import damaged, repair
from retrieval.store.indexer import build, index_all, index_waiting, indexing
from retrieval.store.placement import create
from retrieval.store.rows import Document
from retrieval.text.passages import Passage

ENCODER = HashEncoder()
MODEL = Model(ENCODER.name, ENCODER.digest, ENCODER.arithmetic, ENCODER.max_tokens)
OWL = ENCODER.encode(["owl"], "query").pooled[0]


def quiet(*_) -> None:
    pass


@pytest.fixture(scope="module")
def milvus(milvus_process):
    milvus = Milvus(milvus_process.url, timeout_s=10)
    yield milvus
    milvus.close()


@pytest.fixture
def collection(milvus, tmp_path):
    create(tmp_path / tmp_path.name, CollectionSettings(MODEL), ENCODER, milvus)
    return Collection(tmp_path / tmp_path.name, milvus)


def found(index) -> list[tuple[str, str]]:
    return sorted((passage.id, passage.text) for passage in index.passages(index.nearest(OWL, 1000)))


@given(st.text(min_size=1, max_size=64), st.text(min_size=1, max_size=64))
def test_names_in_milvus_are_valid_and_differ_as_the_names_do(one, other):
    for name in (one, other):
        assert alias_of(name).isascii()
        assert alias_of(name).isidentifier()
        assert len(alias_of(name) + "__g" + "0" * 16) <= 255
    assert (alias_of(one) == alias_of(other)) == (one == other)


@pytest.mark.parametrize(
    ("url", "uri", "token", "database"),
    [
        ("milvus://host", "http://host:19530", "", ""),
        ("milvus://ada:a%40b@host:1/papers", "http://host:1", "ada:a@b", "papers"),
        ("milvus+tls://token@[::1]", "https://[::1]:19530", "token", ""),
    ],
)
def test_a_url_is_read(url, uri, token, database):
    assert parse_url(url) == {"uri": uri, "token": token, "db_name": database}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://host",
        "milvus://",
        "milvus://secret@host:port",
        "milvus://h/a/b",
        "milvus://h?secret=1",
        "milvus://[",
    ],
)
def test_a_url_that_is_wrong_is_refused_and_not_quoted(url):
    with pytest.raises(MilvusUrlError, match="milvus://") as raised:
        parse_url(url)
    assert "secret" not in str(raised.value)


def test_nothing_answers_at_a_wrong_address(tmp_path):
    milvus = Milvus("milvus://127.0.0.1:1", timeout_s=0.05)
    with pytest.raises(IndexUnavailable):
        create(tmp_path / "birds", CollectionSettings(MODEL), ENCODER, milvus)
    assert list(tmp_path.iterdir()) == []
    milvus.close()


PROGRAM = """
import sys
from pathlib import Path
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.index.milvus_client import Milvus
from retrieval.store.collection import Collection
from retrieval.store.indexer import index_waiting, indexing
from retrieval.store.rows import Document

collection = Collection(Path(sys.argv[1]), Milvus(sys.argv[2], timeout_s=10))
with indexing(collection) as alone:
    assert alone
    for at in range(400):
        i = str(at % 11)
        collection.put([Document(i, f"owl number {at}")])
        print("put", i, at, flush=True)
        if at % 3 == 0:
            index_waiting(collection, HashEncoder(), lambda _: None)
        if at % 5 == 0:
            collection.delete([str(at % 7)])
            print("delete", str(at % 7), at, flush=True)
"""


@pytest.mark.milvus
@pytest.mark.parametrize("lines", [1, 3, 8, 13, 21, 34])
def test_what_was_acknowledged_survives_a_kill_of_the_writer_and_is_found_once(
    collection, milvus, milvus_process, lines
):
    command = [sys.executable, "-c", PROGRAM, str(collection.folder), milvus_process.url]
    root = Path(indexer.__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as child:  # noqa: S603 - our own
        said = [child.stdout.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        said += child.stdout.readlines()
    expected = dict[str, str]()
    for step, i, at in (line.split() for line in said):
        if step == "put":
            expected[i] = f"owl number {at}"
        else:
            expected.pop(i, None)
    after = Collection(collection.folder, milvus)
    with indexing(after) as alone:
        assert alone, "the lock of a killed process is free"
        index_all(after, ENCODER, quiet)
    kept = {document.id: document.text for _, document in after.page(0, 1000)}
    assert found(after.searchable()) == sorted(kept.items())
    assert damaged(after) == {}
    last = int(at)
    for i in {*kept, *expected} - {str((last + 1) % 11), str(last % 7)}:  # what was going on may be done or not
        assert kept.get(i) == expected.get(i)


@pytest.mark.milvus
def test_a_deletion_that_milvus_does_not_take_is_made_up_for(collection, monkeypatch):
    collection.put(Document(str(at), "owl") for at in range(3))
    index_all(collection, ENCODER, quiet)

    def refuse(*_):
        raise IndexUnavailable("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "delete", refuse)
        with pytest.raises(IndexUnavailable):
            collection.delete(["1"])
    assert collection.has_work()
    assert [i for i, _ in found(collection.searchable())] == ["0", "1", "2"]
    assert index_waiting(collection, ENCODER, quiet) == 0
    assert not collection.has_work()
    assert [i for i, _ in found(collection.searchable())] == ["0", "2"]


@pytest.mark.milvus
def test_passages_that_milvus_lost_are_noticed_and_derived_again(collection, milvus):
    collection.put(Document(str(at), "owl") for at in range(5))
    index_all(collection, ENCODER, quiet)
    engine.delete(milvus, collection.remote.collection, [2 * engine.PLACES])
    assert damaged(collection) == {0: "Milvus lacks 1 passages and holds 0 too many"}
    engine.drop(milvus, collection.remote.collection)
    with pytest.raises(CollectionError, match="--repair` derives them again"):
        found(collection.searchable())
    assert damaged(collection) == {0: "its passages are not in Milvus"}
    assert repair(collection) == {0: "its passages are not in Milvus"}
    index_all(collection, ENCODER, quiet)
    assert damaged(collection) == {}
    assert [i for i, _ in found(engine.find(milvus, collection.name))] == ["0", "1", "2", "3", "4"]


@pytest.mark.milvus
def test_a_machine_without_the_documents_finds_what_was_built_last(collection, milvus, tmp_path):
    name = collection.name
    assert found(engine.find(milvus, name)) == []
    before = engine.find(milvus, name)
    build(collection.folder, [Passage("a", "", "owl")], ENCODER, quiet, "en", milvus, replace=True)
    assert found(engine.find(milvus, name)) == [("a", "owl")]
    with pytest.raises(CollectionError, match="not in Milvus any more"):
        found(before)  # never passages of another content at the same positions
    with pytest.raises(CollectionTaken):
        create(tmp_path / "other" / name, CollectionSettings(MODEL), ENCODER, milvus)
    assert engine.find(milvus, "none") is None


@pytest.mark.milvus
def test_a_passage_that_is_too_long_for_milvus_is_set_aside(collection):
    collection.put([Document("a", "owl"), Document("b", "x" * 2**20), Document("c", "owl")])
    index_all(collection, ENCODER, quiet)
    assert (collection.counts().failed, collection.counts().waiting) == (1, 0)
    assert [i for i, _ in found(collection.searchable())] == ["a", "c"]
