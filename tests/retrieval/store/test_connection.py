"""A database that several processes write: nothing is lost, and what fails is said."""

from concurrent.futures import ThreadPoolExecutor

import apsw
import pytest

from retrieval.errors import CollectionError, CollectionUnwritable
from retrieval.store.connection import FILE, Connection
from retrieval.store.rows import Document
from tests.retrieval.store.tables import Tables


def test_two_that_write_wait_for_each_other(tmp_path):
    Connection(tmp_path, create=True).close()

    def write(writer: int) -> None:
        database = Tables(tmp_path)
        for at in range(20):
            database.documents.put([Document(f"{writer}-{at}", "x")])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert Tables(tmp_path).documents.counts().documents == 80


def test_a_revision_tells_of_others_writes(tmp_path, database):
    reader = Connection(tmp_path)
    before = reader.revision()
    assert reader.revision() == before
    database.documents.put([Document("a", "owl")])
    assert reader.revision() != before


def test_what_cannot_be_written_is_said_and_nothing_is_lost(tmp_path, database):
    database.documents.put([Document("a", "owl")])
    database.connection._connection.execute("PRAGMA max_page_count = 1")  # as on a full disk
    with pytest.raises(CollectionUnwritable, match=r"cannot be written: .*full"):
        database.documents.put([Document(str(at), "x" * 10_000) for at in range(100)])
    assert [document.id for _, document in Tables(tmp_path).documents.page(0, 9)] == ["a"]


@pytest.mark.parametrize("content", [b"", b"not a database" * 400, b"SQLite format 3\0" + bytes(4096)])
def test_a_damaged_file_is_an_error(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(CollectionError, match=r"damaged|has format 0|restore"):
        Connection(tmp_path)


def test_a_missing_one_says_how_to_build_it(tmp_path):
    with pytest.raises(CollectionError, match="qrerank index build"):
        Connection(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_its_sqlite_loses_no_writes(monkeypatch, tmp_path):
    assert tuple(map(int, apsw.sqlite_lib_version().split("."))) >= (3, 51, 3)
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.9.2")
    with pytest.raises(CollectionError, match="can lose writes"):
        Connection(tmp_path, create=True)
    assert not list(tmp_path.iterdir())
