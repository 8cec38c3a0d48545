"""The database of keys and usage: SQLite or PostgreSQL, lost and found again."""

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
_FILE = "auth.sqlite3"
_PATIENCE_S = 3  # for a statement, a lock or a connection
_MIGRATED_WITHIN_S = 60  # by whoever starts at the same time
_MODE = "qrerank_mode"  # execution option: what a transaction is for
_TIMEOUTS = (  # to the end of the transaction
    f"SELECT set_config('lock_timeout', '{_PATIENCE_S - 1}s', true), "
    f"set_config('statement_timeout', '{_PATIENCE_S}s', true)"
)
_CONFLICTS = {"40001", "40P01", "55P03"}  # of serialisation, deadlock, lock not available
_UNREACHABLE = ("08", "57P")  # beginnings of PostgreSQL's codes: of connections, and of a server that stops or starts
_POSTGRESQL = {
    "connect_timeout": _PATIENCE_S,
    "tcp_user_timeout": _PATIENCE_S * 1000,
    "application_name": "quantum-rerank",
}


def url_of(database_url: str | None, data_dir: Path) -> URL:
    """Where the database is: as told, or a file in the data folder; KeysMisconfigured for a URL that is none."""
    if database_url is None:
        return URL.create("sqlite", database=str(data_dir / _FILE))
    try:
        return make_url(database_url).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):
        # Without the cause, whose text may have the password in it.
        raise KeysMisconfigured(
            "QRERANK_AUTH__DATABASE_URL is not of the form postgresql://USER:PASSWORD@HOST/NAME; in the password write "
            "each special character as % and its two hexadecimal digits"
        ) from None


class Database:
    """Transactions on tables that are brought up to date on first use, and after each loss.

    While the database does not answer, one attempt is made per second, and everybody else is told so at once. One that
    can be read and not written, for want of space or of leave, is not lost.
    """

    def __init__(self, url: URL, pepper: Pepper, *, retry_s: float = RETRY_S) -> None:
        """Nothing is opened yet. pepper: the one that the database's keys were hashed with, or will be."""
        self._file = Path(url.database or "") if url.get_backend_name() == "sqlite" else None
        self._engine = _engine(url)
        self._proof = pepper.hash("the pepper of this database")
        self._retry_s = retry_s
        self._opening = threading.Lock()
        self._ready = False
        self._lost: str | None = None  # why, while it is
        self._retry_at = 0.0
        self._inode: int | None = None  # of the file that was opened
        self.last_fault: Fault | None = None

    @property
    def lost(self) -> bool:
        """Whether it did not answer when it was last asked."""
        return self._lost is not None

    def check(self) -> None:
        """Ask whether it answers, and whether its file is where it was: who has that open would not notice. Blocks."""
        with suppress(KeysUnavailable):
            if self._ready and self._file and _inode(self._file) != self._inode:
                raise self._lose(KeysUnavailable(f"the file {self._file.name} is gone, or is another one"))
            with self.reading() as connection:
                connection.execute(select(1))

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that changes nothing; KeysUnavailable while the database does not answer."""
        with self._transaction("read") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction; KeysUnavailable while the database does not answer, KeysReadOnly while it takes no writes."""
        with self._transaction("write") as connection:
            try:
                yield connection
            except DBAPIError as error:
                if _is_unwritable(error) and self._file is None:
                    connection.invalidate()  # the next one may lead to a server that takes writes
                raise

    def open(self) -> None:
        """Make the database ready, unless it is. While it is lost, one thread at a time tries, and no other waits."""
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

    def close(self) -> None:
        """Give all connections back."""
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
            elif not self._file.exists():  # an empty one in its place would know no key
                raise KeysUnavailable(f"the file {self._file.name} is gone; put it back, or start anew without keys")
            self._inode = _inode(self._file)
        with self._begin("read") as connection:
            if is_current(connection) and self._knows_pepper(connection):
                return  # without waiting for whoever writes
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
        """Whether keys were made with this pepper; no if none were made yet; KeysMisconfigured if with another one."""
        found = connection.scalar(select(tables.pepper.c.proof))
        if found not in {None, self._proof}:
            raise KeysMisconfigured(
                "the pepper is not the one that the keys in the database were made with, so none would be known: set "
                "QRERANK_AUTH__PEPPER to that one, or copy the file `pepper` from the data folder where they were made"
            )
        return found is not None

    def _lose(self, error: Exception) -> KeysUnavailable:
        lost = error if isinstance(error, KeysUnavailable) else KeysUnavailable(f"the database failed: {_text(error)}")
        if self._lost is None:
            log.warning("%s; trying again every %g s", lost.reason, self._retry_s)
        self.last_fault = Fault.now(lost.reason)
        self._lost, self._retry_at = lost.reason, time.monotonic() + self._retry_s
        self._ready = False  # whatever comes back may be another one
        self._engine.dispose()
        return lost


def _text(error: Exception) -> str:
    """The driver's own first line: SQLAlchemy's has the statement in it."""
    return str(getattr(error, "orig", None) or error).strip().split("\n")[0]


def _is_busy(error: Exception) -> bool:
    """Whether a transaction only waited too long for another one; those that wait for none go on."""
    cause = getattr(error, "orig", None)
    code, state = getattr(cause, "sqlite_errorcode", 0), getattr(cause, "sqlstate", "")
    return code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} or state in _CONFLICTS


def _is_unwritable(error: Exception) -> bool:
    """Whether a transaction that writes failed in a way that says nothing of those that read."""
    cause = getattr(error, "orig", None)
    if isinstance(cause, sqlite3.Error):
        return sqlite_file.is_unwritable(cause)
    state = getattr(cause, "sqlstate", None) or ""  # of a server that answered
    return state != "" and not state.startswith(_UNREACHABLE)


def _inode(file: Path) -> int | None:
    try:
        return file.stat().st_ino
    except OSError:
        return None


def _make(file: Path) -> None:
    """Make an empty file for the owner alone, where there is none; the one that is there need not be writable."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))


def _engine(url: URL) -> Engine:
    """An engine whose errors tell nothing of what was asked."""
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
            connect_args=_POSTGRESQL,
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
    # A transaction that begins by reading cannot wait for another writer when it comes to write.
    connection.exec_driver_sql("BEGIN" if mode == "read" else "BEGIN IMMEDIATE")


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get(_MODE) != "migrate":  # which may take its time
        connection.exec_driver_sql(_TIMEOUTS)
