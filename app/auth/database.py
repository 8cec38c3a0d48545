"""The database of keys and usage, SQLite or PostgreSQL, with reconnection after an outage."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, insert, make_url, select
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.auth import sqlite_file, tables
from app.auth.keys import Pepper
from app.auth.migrations import is_current, upgrade
from app.errors import KeysMisconfigured, KeysReadOnly, KeysUnavailable
from retrieval.errors import Fault

log = logging.getLogger(__name__)

RETRY_S = 1.0
OTHER_PEPPER = (
    "the keys in the database were made with another pepper, so no key would be valid: set QRERANK_AUTH__PEPPER to "
    "that one, or copy the file `pepper` from the data folder where they were made"
)
_FILE = "auth.sqlite3"
_PATIENCE_S = 3  # timeout of a statement, a lock or a connection
_MIGRATED_WITHIN_S = 60  # how long a process waits for another one that migrates
_MODE = "qrerank_mode"  # execution option: the transaction's mode, read, write or migrate
_TIMEOUTS = (  # they hold until the transaction ends
    f"SELECT set_config('lock_timeout', '{_PATIENCE_S - 1}s', true), "
    f"set_config('statement_timeout', '{_PATIENCE_S}s', true)"
)
_CONFLICTS = {"40001", "40P01", "55P03"}  # SQLSTATE: serialization failure, deadlock, lock not available
_UNREACHABLE = ("08", "57P")  # prefixes of SQLSTATE: connection exceptions, and a server that stops or starts
_POSTGRESQL = {  # unless the URL says otherwise
    "connect_timeout": _PATIENCE_S,
    "tcp_user_timeout": _PATIENCE_S * 1000,
    "application_name": "quantum-rerank",
}


def url_of(database_url: str | None, data_dir: Path) -> URL:
    """The database's SQLAlchemy URL; without `database_url`, of a SQLite file in the data folder.

    KeysMisconfigured if the URL is invalid.
    """
    if database_url is None:
        return URL.create("sqlite", database=str(data_dir / _FILE))
    try:
        return make_url(database_url).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):
        # Without the cause: its text may contain the password.
        raise KeysMisconfigured(
            "QRERANK_AUTH__DATABASE_URL is not of the form postgresql://USER:PASSWORD@HOST/NAME; percent-encode "
            "special characters in the password, as %40 for @"
        ) from None


def has_pepper(url: URL) -> bool:
    """Whether a database answers and holds keys of some pepper. Nothing is made or migrated."""
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        return False
    engine = _engine(url)
    try:
        with engine.execution_options(**{_MODE: "read"}).begin() as connection:
            return connection.scalar(select(tables.pepper.c.proof)) is not None
    except (DBAPIError, PoolTimeout, OSError):  # no tables yet, or no answer: whoever opens it says so
        return False
    finally:
        engine.dispose()


class Database:
    """Transactions on the tables, which are migrated on first use and after each outage.

    During an outage one thread per second tries to reconnect, and all other calls fail at once. A database that can be
    read but not written (full disk, missing permission) does not count as an outage.
    """

    def __init__(self, url: URL, pepper: Pepper, *, retry_s: float = RETRY_S) -> None:
        """Does not connect yet.

        Args:
            url: From `url_of`.
            pepper: The secret of the key hashes in this database.
            retry_s: Seconds between attempts to reconnect.
        """
        self._file = Path(url.database or "") if url.get_backend_name() == "sqlite" else None
        self._engine = _engine(url)
        self._proof = pepper.hash("the pepper of this database")
        self._retry_s = retry_s
        self._opening = threading.Lock()
        self._ready = False
        self._lost: str | None = None  # the cause of the current outage
        self._retry_at = 0.0
        self._inode: int | None = None  # of the SQLite file when it was opened
        self.last_fault: Fault | None = None

    @property
    def lost(self) -> bool:
        """Whether there is an outage, as of the last call."""
        return self._lost is not None

    def check(self) -> None:
        """Check that the database answers, and that its file was not moved or replaced while it is open. Blocks."""
        with suppress(KeysUnavailable):
            if self._ready and self._file and _inode(self._file) != self._inode:
                raise self._lose(KeysUnavailable(f"the file {self._file.name} is gone or was replaced"))
            with self.reading() as connection:
                connection.execute(select(1))

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A read-only transaction; KeysUnavailable during an outage."""
        with self._transaction("read") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction; KeysUnavailable during an outage, KeysReadOnly while the database takes no writes."""
        with self._transaction("write") as connection:
            try:
                yield connection
            except DBAPIError as error:
                if _is_unwritable(error) and self._file is None:
                    connection.invalidate()  # the next connection may reach a server that takes writes
                raise

    def open(self) -> None:
        """Connect and migrate the tables, unless that is done. During an outage one thread tries and no other waits."""
        if not self._opening.acquire(blocking=self._lost is None):
            raise KeysUnavailable(self._lost or "")
        try:
            if self._ready:
                return
            if self._lost is not None and time.monotonic() < self._retry_at:
                raise KeysUnavailable(self._lost)
            with self._watched("open"):
                self._prepare()
            self._ready = True
            if self._lost is not None:
                log.warning("the database of keys answers again")
                self._lost = None
        finally:
            self._opening.release()

    def is_current(self) -> bool:
        """Whether the tables are of this version and this pepper, found out without migrating them.

        KeysUnavailable if the database does not answer, or its keys were made with another pepper.
        """
        with self._watched("open"), self._begin("read") as connection:
            return is_current(connection) and self._knows_pepper(connection)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, mode: str) -> Iterator[Connection]:
        self.open()
        with self._watched(mode), self._begin(mode) as connection:
            yield connection

    def _prepare(self) -> None:
        if self._file:
            if self._inode is None:
                _make(self._file)
            elif not self._file.exists():  # a new empty file would reject every key
                raise KeysUnavailable(
                    f"the file {self._file.name} is gone; restore it, or restart the service to begin without keys"
                )
            self._inode = _inode(self._file)
        with self._begin("read") as connection:
            if is_current(connection) and self._knows_pepper(connection):
                return  # without waiting for writers
        with self._begin("migrate") as connection:
            upgrade(connection)
            if not self._knows_pepper(connection):
                connection.execute(insert(tables.pepper).values(proof=self._proof))

    def _begin(self, mode: str) -> AbstractContextManager[Connection]:
        return self._engine.execution_options(**{_MODE: mode}).begin()

    @contextmanager
    def _watched(self, mode: str) -> Iterator[None]:
        try:
            yield
        except (IntegrityError, DataError):
            raise
        except (DBAPIError, PoolTimeout, OSError, KeysUnavailable) as error:
            if _is_busy(error):
                raise KeysUnavailable(f"the database is busy: {_text(error)}") from None
            if mode == "write" and _is_unwritable(error):
                raise KeysReadOnly(f"the database takes no writes: {_text(error)}") from None
            raise self._lose(error) from None

    def _knows_pepper(self, connection: Connection) -> bool:
        """Whether the database stores the proof of this pepper; KeysMisconfigured if it stores that of another one."""
        stored_proof = connection.scalar(select(tables.pepper.c.proof))
        if stored_proof not in {None, self._proof}:
            raise KeysMisconfigured(OTHER_PEPPER)
        return stored_proof is not None

    def _lose(self, error: Exception) -> KeysUnavailable:
        """Begin or prolong an outage, and return the error to raise."""
        outage = (
            error if isinstance(error, KeysUnavailable) else KeysUnavailable(f"the database failed: {_text(error)}")
        )
        if self._lost is None:
            log.warning("%s; trying again every %g s", outage.reason, self._retry_s)
        self.last_fault = Fault.now(outage.reason)
        self._lost, self._retry_at = outage.reason, time.monotonic() + self._retry_s
        self._ready = False  # after the outage it may be another database
        self._engine.dispose()
        return outage


def _text(error: Exception) -> str:
    """The first line of the driver's message. SQLAlchemy's own message contains the statement."""
    return str(getattr(error, "orig", None) or error).strip().split("\n")[0]


def _is_busy(error: Exception) -> bool:
    """Whether a transaction waited too long for another one. Transactions without a conflict still succeed."""
    cause = getattr(error, "orig", None)
    code, state = getattr(cause, "sqlite_errorcode", 0), getattr(cause, "sqlstate", "")
    return code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} or state in _CONFLICTS


def _is_unwritable(error: Exception) -> bool:
    """Whether a write failed for a reason that does not affect reads."""
    cause = getattr(error, "orig", None)
    if isinstance(cause, sqlite3.Error):
        return sqlite_file.is_unwritable(cause)
    state = getattr(cause, "sqlstate", None) or ""  # empty unless the server answered
    return state != "" and not state.startswith(_UNREACHABLE)


def _inode(file: Path) -> int | None:
    try:
        return file.stat().st_ino
    except OSError:
        return None


def _make(file: Path) -> None:
    """Create an empty file with mode 0600 unless it exists. An existing file need not be writable."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))


def _engine(url: URL) -> Engine:
    """An engine whose errors contain no statement parameters."""
    if url.get_backend_name() == "sqlite":
        file = Path(url.database or "")
        engine = create_engine(url, hide_parameters=True, creator=partial(sqlite_file.connect, file, _PATIENCE_S))
        event.listen(engine, "checkout", sqlite_file.use_once)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        engine = create_engine(
            url,
            hide_parameters=True,
            connect_args={name: value for name, value in _POSTGRESQL.items() if name not in url.query},
            pool_size=4,
            max_overflow=2,
            pool_timeout=_PATIENCE_S,
            pool_pre_ping=True,
            pool_recycle=300,
        )
    except ModuleNotFoundError as error:
        raise KeysMisconfigured("PostgreSQL needs a driver: pip install 'quantum-rerank[postgres]'") from error
    event.listen(engine, "begin", _begin_postgresql)
    return engine


def _begin_sqlite(connection: Connection) -> None:
    mode = connection.get_execution_options().get(_MODE)
    patience_s = _MIGRATED_WITHIN_S if mode == "migrate" else _PATIENCE_S
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(1000 * patience_s)}")
    # BEGIN IMMEDIATE: a transaction that starts with a read cannot wait for another writer later.
    connection.exec_driver_sql("BEGIN" if mode == "read" else "BEGIN IMMEDIATE")


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get(_MODE) != "migrate":  # migrations have no timeout
        connection.exec_driver_sql(_TIMEOUTS)
