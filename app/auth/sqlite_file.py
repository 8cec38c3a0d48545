"""SQLite connections that can read where they cannot write: on a full disk or in a read-only folder."""

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
    """Whether an error may mean that the file or its folder is not writable, while reading may work."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in _UNWRITABLE and code != sqlite3.SQLITE_READONLY_DBMOVED


class _Snapshot(sqlite3.Connection):
    """A connection for one transaction. It opens the file as immutable and does not see later writes."""


def connect(file: Path, patience_s: float) -> sqlite3.Connection:
    """A connection that can at least read; sqlite3.Error if it cannot.

    SQLite creates the write-ahead log and its index before it reads. If it cannot, and no log with content exists, the
    file is opened as immutable.
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
        if not is_unwritable(error):  # otherwise the journal mode stays as it is
            raise
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def use_once(connection: object, entry: ConnectionPoolEntry, _: object) -> None:
    """Handle the pool's event "checkout": a connection to an immutable file is used once only."""
    if isinstance(connection, _Snapshot):
        if entry.info.get("used"):
            raise DisconnectionError
        entry.info["used"] = True


def _has_log(file: Path) -> bool:
    log = file.with_name(f"{file.name}-wal")
    return log.exists() and log.stat().st_size > 0


def _connect(path_or_uri: str, patience_s: float, factory: type[sqlite3.Connection]) -> sqlite3.Connection:
    # The driver must not begin transactions by itself, and threads share its connections.
    return sqlite3.connect(
        path_or_uri,
        timeout=patience_s,
        isolation_level=None,
        check_same_thread=False,
        factory=factory,
        uri=path_or_uri.startswith("file:"),
    )
