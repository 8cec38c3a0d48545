"""Connections to SQLite's file, which can be read where it cannot be written: on a full disk, in a read-only folder."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

_UNWRITABLE = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
}


def is_unwritable(error: sqlite3.Error) -> bool:
    """Whether an error may mean that a file or its folder cannot be written, and says nothing of reading."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in _UNWRITABLE and code != sqlite3.SQLITE_READONLY_DBMOVED


class _Snapshot(sqlite3.Connection):
    """A connection to a file as it is now, for one transaction: it does not notice that others write."""


def connect(file: Path, patience_s: float) -> sqlite3.Connection:
    """A connection that can at least read, or sqlite3.Error.

    SQLite makes a log and an index of it beside the file before it reads. Where it cannot, and where there is no log
    that counts, the file is read as it is now.
    """
    connection = _connect(str(file), patience_s, sqlite3.Connection)
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1")
    except sqlite3.OperationalError as error:
        connection.close()
        if not is_unwritable(error) or _has_log(file):
            raise
        connection = _connect(f"{file.absolute().as_uri()}?immutable=1", patience_s, _Snapshot)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError as error:
        if not is_unwritable(error):  # else it stays as it is
            raise
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def use_once(connection: object, entry: ConnectionPoolEntry, _: object) -> None:
    """An event of the pool: a connection to a file as it was is not used again."""
    if isinstance(connection, _Snapshot):
        if entry.info.get("used"):
            raise DisconnectionError
        entry.info["used"] = True


def _has_log(file: Path) -> bool:
    log = file.with_name(f"{file.name}-wal")
    return log.exists() and log.stat().st_size > 0


def _connect(where: str, patience_s: float, kind: type[sqlite3.Connection]) -> sqlite3.Connection:
    # The driver begins no transactions of its own, and its connections may go from thread to thread.
    return sqlite3.connect(
        where,
        timeout=patience_s,
        isolation_level=None,
        check_same_thread=False,
        factory=kind,
        uri=where.startswith("file:"),
    )
