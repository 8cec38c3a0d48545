"""A database that several processes write: nothing is lost, and what fails is said."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import apsw
import pytest

from retrieval.errors import CollectionError, CollectionUnwritable
from retrieval.store.connection import FILE, FORMAT, Connection
from retrieval.store.rows import Document
from tests.retrieval.store.tables import Tables


def test_those_that_write_wait_for_each_other(tmp_path, disk):
    Connection(tmp_path, create=True).close()

    def write(writer: int) -> None:
        database = Tables(tmp_path)
        for at in range(20):
            database.documents.put([Document(f"{writer}-{at}", "x")])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert Tables(tmp_path).documents.counts().documents == 80


def test_a_revision_tells_of_others_writes(tmp_path, disk, database):
    reader = Connection(tmp_path)
    before = reader.revision()
    assert reader.revision() == before
    database.documents.put([Document("a", "owl")])
    assert reader.revision() != before


def test_what_cannot_be_written_is_said_and_nothing_is_lost(tmp_path, disk, database):
    database.documents.put([Document("a", "owl")])
    database.connection._connection.execute("PRAGMA max_page_count = 1")  # as on a full disk
    with pytest.raises(CollectionUnwritable, match=r"cannot be written: .*full"):
        database.documents.put([Document(str(at), "x" * 10_000) for at in range(100)])
    assert [document.id for _, document in Tables(tmp_path).documents.page(0, 9)] == ["a"]


NETWORK = "retrieval.store.connection.network_file_system"


def size(folder) -> int:
    return (folder / FILE).stat().st_size


def journal_of(folder) -> str:
    return Connection(folder).journal()


def test_the_journal_suits_the_disk(tmp_path, disk, database):
    assert journal_of(tmp_path) == ("truncate" if disk else "wal")
    database.documents.put([Document("a", "owl")])
    assert not disk or not list(tmp_path.glob("*-shm")), "no memory is shared"


def test_who_reads_holds_no_lock(tmp_path, disk, database, monkeypatch):
    monkeypatch.setattr("retrieval.store.connection._ROLLBACK_PATIENCE_MS", 0)
    writer, reader = Tables(tmp_path), Tables(tmp_path)
    writer.documents.put(Document(str(at), "owl") for at in range(9))
    monkeypatch.setattr("retrieval.store.documents.PAGE_CHARACTERS", 1)
    assert len(reader.documents.page(0, 9)) == 1
    with reader.connection.reading():
        reader.documents.counts()
        if disk:
            with pytest.raises(CollectionUnwritable, match="locked"):
                writer.documents.put([Document("b", "owl")])
        else:
            writer.documents.put([Document("b", "owl")])
        assert reader.documents.counts().documents == 9
    reader.connection.revision()
    writer.documents.put([Document("b", "owl")])
    assert reader.documents.counts().documents == 10


def test_an_open_connection_keeps_its_locks_when_another_is_opened(tmp_path, disk, database):
    """POSIX frees the locks of a process on a file when it closes the file, however often it has it open."""
    program = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    with database.connection.writing() as connection:
        connection.execute("INSERT INTO about VALUES ('a', '1')")
        Connection(tmp_path).close()
        command = [sys.executable, "-c", program, tmp_path / FILE]
        locked = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - our own
    assert b"BlockingIOError" in locked.stderr


def test_a_log_ends_on_a_network_and_begins_again_when_compacted(tmp_path, monkeypatch):
    left, moved = tmp_path / "left", tmp_path / "moved"
    left.mkdir()
    writer = Tables(left, create=True)
    writer.documents.put([Document("a", "owl")])
    shutil.copytree(left, moved)  # as a kill leaves it
    monkeypatch.setattr(NETWORK, lambda _: "nfs4")
    monkeypatch.setattr("retrieval.store.connection._PATIENCE_MS", 0)
    with pytest.raises(CollectionUnwritable, match=r"\(nfs4\).*stop that process"):
        Connection(left)
    writer.documents.put([Document("b", "owl")])
    tables = Tables(moved)
    assert tables.documents.counts().documents == 1
    assert journal_of(moved) == "truncate"
    monkeypatch.setattr(NETWORK, lambda _: None)
    back = Tables(moved)
    assert back.connection.journal() != "wal", "the process on the network has it open"
    back.connection.shrink()
    assert journal_of(moved) == "wal"
    assert back.documents.counts().documents == 1
    assert writer.documents.counts().documents == 2


def test_a_read_only_network_disk_is_read_with_its_locks(tmp_path, monkeypatch):
    Connection(tmp_path, create=True).close()
    monkeypatch.setattr(NETWORK, lambda _: "nfs4")
    with monkeypatch.context() as patch:
        patch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
        with pytest.raises(CollectionError, match="open it once for writing"):
            Connection(tmp_path)
    writer = Tables(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    reader = Tables(tmp_path)
    writer.documents.put([Document("a", "owl")])
    assert reader.documents.counts().documents == 1, "it is not taken for a disk that nobody writes"
    with pytest.raises(CollectionUnwritable, match="readonly"):
        reader.documents.put([Document("b", "owl")])


def test_space_of_deleted_rows_is_given_back_in_parts(tmp_path, disk, database, monkeypatch):
    monkeypatch.setattr("retrieval.store.connection._PAGES", 100)
    database.documents.put(Document(str(at), "x" * 4000) for at in range(400))
    assert not database.connection.trim(), "there is nothing to give back"
    database.connection.read("PRAGMA wal_checkpoint(TRUNCATE)")
    full = size(tmp_path)
    database.documents.delete(str(at) for at in range(300))
    parts = 0
    while database.connection.trim():
        parts += 1
    assert parts > 1
    assert size(tmp_path) < full / 2
    with monkeypatch.context() as short:  # of a log that a large write left: the next one finds it too long
        short.setattr("retrieval.store.connection._LOG_BYTES", 2**16)
        other = Tables(tmp_path)
    other.documents.put([Document("long", "x" * 2**20)])
    other.connection.read("PRAGMA wal_checkpoint")
    other.documents.delete(["long"])
    assert not disk or not (tmp_path / f"{FILE}-wal").exists()
    assert disk or (tmp_path / f"{FILE}-wal").stat().st_size <= 2**16
    assert [document.id for _, document in database.documents.page(0, 999)] == [str(at) for at in range(300, 400)]
    assert database.connection.read("PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("content", [b"", b"not a database" * 400, b"SQLite format 3\0" + bytes(4096)])
def test_a_damaged_file_is_an_error(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(CollectionError, match=r"is damaged: .*; restore its folder from a backup$"):
        Connection(tmp_path)


@pytest.mark.parametrize("version", [1, FORMAT + 1])
def test_one_of_another_version_says_what_keeps_its_documents(tmp_path, database, version):
    database.connection._connection.pragma("user_version", version)
    name = tmp_path.name
    with pytest.raises(
        CollectionError,
        match=f"has format {version}, not {FORMAT}; get its documents by `qrerank index export {name} > SOURCE` of "
        f"the version that made it, then `qrerank index build {name} SOURCE --force`$",
    ):
        Connection(tmp_path)


def test_a_missing_one_says_how_to_build_it(tmp_path):
    with pytest.raises(
        CollectionError, match=r"`qrerank index build none SOURCE`, or choose one of `qrerank index list`$"
    ):
        Connection(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    (tmp_path / "junk").mkdir()
    with pytest.raises(CollectionError, match="`qrerank index build junk SOURCE --force`"):
        Connection(tmp_path / "junk")


def test_its_sqlite_loses_no_writes(monkeypatch, tmp_path):
    assert tuple(map(int, apsw.sqlite_lib_version().split("."))) >= (3, 51, 3)
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.9.2")
    with pytest.raises(CollectionError, match="can lose writes"):
        Connection(tmp_path, create=True)
    assert not list(tmp_path.iterdir())
