"""The documents of a collection: what was acknowledged is there, once, whoever writes and whenever a process ends."""

from concurrent.futures import ThreadPoolExecutor

import apsw
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.errors import CollectionError, CollectionUnwritable
from retrieval.store.database import FILE, Counts, Database, Document

IDS = st.sampled_from(["a", "b", "c", "ä/..\n", "鳥" * 64])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(st.tuples(IDS, st.sampled_from(["x", "y", ""])), min_size=1, max_size=4)),
        st.tuples(st.just("delete"), st.lists(IDS, max_size=3)),
        st.tuples(st.just("index"), st.integers(1, 3)),
    ),
    max_size=12,
)


@pytest.fixture
def database(tmp_path):
    return Database(tmp_path, create=True)


def index(database: Database, most: int) -> None:
    """Each waiting document becomes one passage."""
    waiting = database.waiting(most)
    if waiting:
        database.add_segment(waiting, range(len(waiting)), database.next_segment())


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_it_holds_what_a_dictionary_would_and_finds_what_is_indexed(tmp_path_factory, steps):
    database = Database(tmp_path_factory.mktemp("database"), create=True)
    texts: dict[str, str] = {}
    searchable: set[str] = set()
    for step, what in steps:
        if step == "put":
            database.put(Document(i, text) for i, text in what)
            texts |= dict(what)
        elif step == "delete":
            assert database.delete(what) == len(texts.keys() & set(what))
            for i in what:
                texts.pop(i, None)
                searchable.discard(i)
        else:
            waiting = {each.document.id for each in database.waiting(what)}
            index(database, what)
            searchable |= waiting
        documents = [document for _, document in database.page(0, 100)]
        assert {document.id: document.text for document in documents} == texts
        counts = database.counts()
        assert counts.documents == len(texts)
        assert counts.passages == len(searchable) == sum(row.live.sum() for row in database.segments())


def test_what_is_unchanged_does_not_wait_again_and_its_metadata_is_replaced(database):
    assert database.put([Document("a", "owl", "title", {"page": 1})]) == ["a"]
    index(database, 9)
    assert database.put([Document("a", "owl", "title", {"page": 2})]) == []
    assert database.get(["a"])[0].metadata == {"page": 2}
    assert database.counts().waiting == 0
    for changed in (Document("a", "owl", "other"), Document("a", "owls", "other")):
        assert database.put([changed]) == ["a"]
        assert database.counts().waiting == 1
        assert database.counts().passages == 1, "the old content is found until the new one is"
        index(database, 9)
    assert database.counts() == Counts(1, 0, 1, 0)


@pytest.mark.parametrize("change", ["changed", "deleted"])
def test_what_changes_while_it_is_indexed_is_not_found_with_its_old_content(database, change):
    database.put([Document("a", "owl"), Document("b", "lamp")])
    waiting = database.waiting(9)
    database.put([Document("a", "river")]) if change == "changed" else database.delete(["a"])
    assert database.add_segment(waiting, [0, 1, 1], 1) == 2
    assert database.segments()[0].live.tolist() == [False, True, True]
    assert [each.document.text for each in database.waiting(9)] == (["river"] if change == "changed" else [])


def test_documents_come_in_the_order_that_was_asked_for_and_page_by_page(database):
    database.put(Document(str(at), f"text {at}") for at in range(10))
    assert [document.id for document in database.get(["7", "none", "2"])] == ["7", "2"]
    seen, after = [], 0
    while page := database.page(after, 3):
        seen += [document.id for _, document in page]
        after = page[-1][0]
    assert seen == [str(at) for at in range(10)]


def test_segments_merge_in_the_order_of_their_documents_and_what_was_deleted_meanwhile_stays_out(database):
    for at in range(6):
        database.put([Document(str(at), "x")])
        index(database, 9)
    rows = {row.number: np.flatnonzero(row.live) for row in database.segments()[1:4]}
    database.delete(["2"])
    assert database.replace_segments(rows, database.next_segment()) == 2
    assert [row.number for row in database.segments()] == [1, 7, 5, 6]
    assert database.segments()[1].live.tolist() == [True, False, True]
    database.delete(["1", "3"])
    assert not database.segments()[1].live.any()
    assert database.replace_segments({7: np.zeros(0, dtype=np.int64)}, 8) == 0
    assert [row.number for row in database.segments()] == [1, 5, 6]


def test_documents_of_a_lost_segment_wait_again(database):
    database.put([Document("a", "owl"), Document("b", "lamp")])
    index(database, 1)
    index(database, 1)
    database.forget_segments([1])
    assert [each.document.id for each in database.waiting(9)] == ["a"]
    assert [row.number for row in database.segments()] == [2]


def test_two_that_write_wait_for_each_other(tmp_path):
    Database(tmp_path, create=True).close()

    def write(writer: int) -> None:
        database = Database(tmp_path)
        for at in range(20):
            database.put([Document(f"{writer}-{at}", "x")])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert Database(tmp_path).counts().documents == 80


def test_a_revision_tells_of_others_writes(tmp_path, database):
    reader = Database(tmp_path)
    before = reader.revision()
    assert reader.revision() == before
    database.put([Document("a", "owl")])
    assert reader.revision() != before


def test_a_failing_write_changes_nothing(database):
    def broken():
        yield Document("a", "owl")
        raise KeyError

    with pytest.raises(KeyError):
        database.put(broken())
    assert database.counts().documents == 0
    assert database.put([Document("a", "owl")]) == ["a"]


def test_what_cannot_be_written_is_said_and_nothing_is_lost(tmp_path, database):
    database.put([Document("a", "owl")])
    database._connection.execute("PRAGMA max_page_count = 1")  # as on a full disk
    with pytest.raises(CollectionUnwritable, match=r"cannot be written: .*full"):
        database.put([Document(str(at), "x" * 10_000) for at in range(100)])
    assert [document.id for _, document in Database(tmp_path).page(0, 9)] == ["a"]


@pytest.mark.parametrize("content", [b"", b"not a database" * 400, b"SQLite format 3\0" + bytes(4096)])
def test_a_damaged_file_is_an_error(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(CollectionError, match=r"damaged|has format 0|restore"):
        Database(tmp_path)


def test_a_missing_one_says_how_to_build_it(tmp_path):
    with pytest.raises(CollectionError, match="qrerank index build"):
        Database(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_its_sqlite_loses_no_writes(monkeypatch, tmp_path):
    assert tuple(map(int, apsw.sqlite_lib_version().split("."))) >= (3, 51, 3)
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.9.2")
    with pytest.raises(CollectionError, match="can lose writes"):
        Database(tmp_path, create=True)
    assert not list(tmp_path.iterdir())
