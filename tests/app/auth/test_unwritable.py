"""Databases that can be read but not written: keys can be checked, and usage waits."""

import os
import resource
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event, make_url

from app.auth.database import Database, url_of
from app.auth.sql_keys import SqlKeys
from app.auth.sql_usage import SqlUsage
from app.auth.store import Counts, Grant, Refusal
from app.auth.usage import Usage
from app.errors import KeysReadOnly, KeysUnavailable
from app.identity import Identity
from tests.app.auth.conftest import PEPPER

DAY = "2027-01-15"
NOBODY = 65534
MUCH = {(DAY, f"caller {at}"): Counts(1) for at in range(2000)}  # more than fits into the rest of a page


@contextmanager
def full(database: Database, folder: Path) -> Iterator[None]:
    """A full disk: SQLite cannot add a page."""
    most = [(folder / "auth.sqlite3").stat().st_size // 4096]

    def limit(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {most[0]}")

    event.listen(database._engine, "checkout", limit)
    yield
    most[0] = 2**31


@contextmanager
def failing(database: Database, folder: Path) -> Iterator[None]:
    """A failing disk: every write beyond the first byte of a file is an I/O error."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(
    ("broken", "why"), [(full, "database or disk is full"), (failing, "disk I/O error")], ids=["full", "failing"]
)
def test_a_disk_that_takes_no_writes_costs_no_reader_and_nothing_is_lost(tmp_path, broken, why, caplog):
    database = Database(url_of(None, tmp_path), PEPPER, retry_s=3600)
    keys, store = SqlKeys(database, PEPPER), SqlUsage(database)
    plain = keys.create("", "user", "public")[1]
    usage = Usage(store)
    with broken(database, tmp_path):
        for _ in range(3):
            for at in range(2000):
                usage.count(Identity(f"caller {at}", "user", "public"), requests=1)
            with pytest.raises(KeysReadOnly) as refused:
                usage.write()
            assert refused.value.reason == f"the database takes no writes: {why}"
            assert isinstance(keys.find(plain, PEPPER.hash(plain)), Grant)
            assert not database.lost
            assert (usage.counts().waiting, usage.counts().dropped) == (2000, 0)
            assert usage.counts().fault.text == f"usage cannot be written: {refused.value.reason}"
        with pytest.raises(KeysReadOnly, match="cannot be changed at the moment"):
            [keys.create("", "user", "public") for _ in range(2000)]
    usage.write()
    assert [day.requests for day in store.read(1)] == [3] * 2000
    assert (usage.counts().waiting, usage.counts().fault) == (0, None)
    assert database.last_fault is None
    lines = [record.message for record in caplog.records if record.name.startswith("app.auth")]
    assert [line.split(";")[0] for line in lines] == [f"the database takes no writes: {why}", "usage is written again"]
    database.close()


# Folders


@contextmanager
def reader() -> Iterator[None]:
    """Run as an unprivileged user, because root may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can enter."""
    made = Path(tempfile.mkdtemp(prefix="qrerank-keys-", dir="/tmp"))
    yield made
    writable(made)
    shutil.rmtree(made)


def read_only(folder: Path) -> None:
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)


def writable(folder: Path) -> None:
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)


def opened(folder: Path) -> tuple[Database, SqlKeys]:
    database = Database(url_of(None, folder), PEPPER, retry_s=0)
    return database, SqlKeys(database, PEPPER)


def knows(keys: SqlKeys, plain: str) -> bool:
    return isinstance(keys.find(plain, PEPPER.hash(plain)), Grant)


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_folder_that_is_read_only_is_enough_to_read_keys(folder, journal):
    """After a clean shutdown no log exists beside the file, and none can be created."""
    owner, made = opened(folder)
    plain = made.create("", "user", "public")[1]
    owner.close()
    with sqlite3.connect(folder / "auth.sqlite3") as connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.close()
    assert [file.name for file in folder.iterdir()] == ["auth.sqlite3"]
    read_only(folder)
    with reader():
        database, keys = opened(folder)
        for _ in range(3):
            assert knows(keys, plain)
            with pytest.raises(KeysReadOnly, match="cannot be changed"):
                SqlUsage(database).add(MUCH, {})
            database.check()
            assert (database.lost, database.last_fault) == (False, None)
        database.close()


def test_what_others_change_is_seen_where_the_folder_is_read_only_here(folder):
    """One container has the volume read-write and another read-only."""
    owner, made = opened(folder)
    key, plain = made.create("", "user", "public")
    owner.close()
    read_only(folder)
    with reader():
        database, keys = opened(folder)
        assert knows(keys, plain)
    for close in (True, False):  # whether the other process has ended or still has the file open
        writable(folder)
        other, changing = opened(folder)
        newer = changing.create("", "user", "public")[1]
        changing.revoke(key.id)
        if close:
            other.close()
        read_only(folder)
        with reader():
            assert knows(keys, newer)
            assert "revoked" in keys.find(plain, PEPPER.hash(plain)).reason
    other.close()
    database.close()


def test_what_is_in_a_log_that_cannot_be_read_is_not_overlooked(folder):
    """After a crash the log may contain a revocation. If SQLite cannot read the log, every key is rejected."""
    owner, made = opened(folder / "data")
    key, plain = made.create("", "user", "public")
    owner.close()
    made.revoke(key.id)  # this write is in the log
    shutil.copytree(folder / "data", folder / "copy")
    owner.close()
    (folder / "copy" / "auth.sqlite3-shm").unlink()
    read_only(folder / "copy")
    with reader():
        database, keys = opened(folder / "copy")
        with pytest.raises(KeysUnavailable):
            keys.find(plain, PEPPER.hash(plain))
        assert database.lost
    writable(folder / "copy")
    folder.chmod(0o755)
    assert isinstance(keys.find(plain, PEPPER.hash(plain)), Refusal)
    database.close()


# Servers


def run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_server_that_is_read_only_knows_keys_and_takes_usage_when_it_is_not(postgres):
    """A server in standby, or a former primary after a failover."""
    url = postgres.database()
    name = make_url(url).database
    database = Database(url_of(url, None), PEPPER, retry_s=3600)
    plain = SqlKeys(database, PEPPER).create("", "user", "public")[1]
    database.close()
    run(url, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    database = Database(url_of(url, None), PEPPER, retry_s=3600)
    keys, usage = SqlKeys(database, PEPPER), SqlUsage(database)
    for _ in range(3):
        assert knows(keys, plain)
        with pytest.raises(KeysReadOnly) as refused:
            usage.add(MUCH, {})
        assert "in a read-only transaction" in refused.value.reason
        assert not database.lost
    run(url, "SET default_transaction_read_only = off", f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
    usage.add(MUCH, {})
    assert len(usage.read(10**4)) == len(MUCH)
    database.close()


FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '{}'; END $$
"""


@pytest.mark.parametrize("code", ["53100", "53000", "58030", "42501", "57014"])
def test_a_server_that_cannot_write_knows_keys(postgres, code):
    """The disk is full or fails, the role may only read, or the statement times out."""
    url = postgres.database()
    database = Database(url_of(url, None), PEPPER, retry_s=3600)
    keys, usage = SqlKeys(database, PEPPER), SqlUsage(database)
    plain = keys.create("", "user", "public")[1]
    trigger = "CREATE TRIGGER full_disk BEFORE INSERT ON qrerank_usage EXECUTE FUNCTION full_disk()"
    run(url, FULL.format(code), trigger)
    for _ in range(3):
        with pytest.raises(KeysReadOnly, match="cannot be changed"):
            usage.add(MUCH, {})
        assert knows(keys, plain)
        assert not database.lost
    run(url, "DROP TRIGGER full_disk ON qrerank_usage")
    usage.add(MUCH, {})
    database.close()


def test_a_server_that_goes_while_it_writes_is_lost(postgres):
    url = postgres.database()
    database = Database(url_of(url, None), PEPPER, retry_s=3600)
    with pytest.raises(KeysUnavailable) as lost, database.writing() as connection:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        run(url, f"SELECT pg_terminate_backend({pid})")
        connection.exec_driver_sql("DELETE FROM qrerank_usage")
    assert not isinstance(lost.value, KeysReadOnly)
    assert database.lost
    database.close()
