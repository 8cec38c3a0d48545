"""The SQLite database of one collection: the source of truth, from which everything else can be built again.

A write is on the disk when the call returns (`synchronous=FULL`). Several processes may write: SQLite lets one at a
time. APSW brings a SQLite of its own: before 3.51.3 a checkpoint could lose what another process had written to the
write-ahead log.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw

from retrieval.errors import CollectionError, CollectionUnwritable
from retrieval.store.filters import instant

FILE = "documents.sqlite"
FORMAT = 3
_PATIENCE_MS = 5_000  # for another process that writes
_NEEDED = (3, 51, 3)
TABLES = """
-- Their order is that of their documents.
CREATE TABLE segments (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    first_document INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    live BLOB NOT NULL
) STRICT;
-- A passage is a row of a segment. It stays searchable until the new content of its document is.
CREATE TABLE passages (
    segment INTEGER NOT NULL, row INTEGER NOT NULL, id TEXT NOT NULL, PRIMARY KEY (segment, row)
) STRICT, WITHOUT ROWID;
"""  # of one generation of segments
_SCHEMA = f"""
PRAGMA user_version = {FORMAT};
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
-- A document gets a new number when its content changes; numbers rise, so they are also the order of the queue.
CREATE TABLE documents (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    metadata TEXT NOT NULL, -- before the text, so that filters need not read through that
    text TEXT NOT NULL,
    digest BLOB NOT NULL,
    is_indexed INTEGER NOT NULL DEFAULT 0,
    fault TEXT
) STRICT;
-- With the column of the condition SQLite counts without reading documents.
CREATE INDEX waiting ON documents (number, is_indexed) WHERE NOT is_indexed;
CREATE INDEX faults ON documents (number, fault) WHERE fault IS NOT NULL;
{TABLES}CREATE INDEX passages_of ON passages (id);
-- The documents of a job that wait are those from its first to its last number.
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    stored INTEGER NOT NULL DEFAULT 0,
    changed INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0,
    first INTEGER,
    last INTEGER,
    is_complete INTEGER NOT NULL DEFAULT 0,
    error TEXT
) STRICT;
CREATE INDEX running ON jobs (kind) WHERE NOT is_complete;
"""


class Connection:
    """An open connection to the database of one collection. Thread-safe."""

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        """Open the database of a folder.

        Args:
            folder: The folder of the collection.
            create: Make a new one.

        Raises:
            CollectionError: There is none, or it is damaged or of another version.
            OSError: It cannot be read.
        """
        if tuple(map(int, apsw.sqlite_lib_version().split("."))) < _NEEDED:
            raise CollectionError(f"SQLite {apsw.sqlite_lib_version()} can lose writes; install apsw>=3.51.3")
        self._lock = threading.RLock()  # `reading` reads several times
        if not create:
            _check_readable(folder)
        with _translated(folder):
            self._connection = _opened(folder, create=create)
            self._connection.set_busy_timeout(_PATIENCE_MS)
            if create:
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.create_scalar_function("instant", instant, 1, deterministic=True)  # type: ignore[arg-type]
            version = self._connection.pragma("user_version")
        if version != FORMAT:
            raise CollectionError(f"collection {folder.name} has format {version}, not {FORMAT}; build it again")
        self._folder = folder

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def writing(self) -> Iterator[apsw.Connection]:
        """One transaction that writes; it waits for other processes up to five seconds.

        Within another one it is a part of that.
        """
        with self._lock, _translated(self._folder):
            if self._connection.in_transaction:
                yield self._connection
            else:
                with self._transaction():
                    yield self._connection

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Within the block all reads see one state of the database."""
        with self._lock, _translated(self._folder):
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("COMMIT")

    def read(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a statement."""
        with self._lock, _translated(self._folder):
            return list(self._connection.execute(statement, values))

    def read_until(
        self, is_enough: Callable[[tuple[Any, ...]], bool], statement: str, values: Sequence[Any]
    ) -> list[tuple[Any, ...]]:
        """Return rows up to the first one that is enough. The rest is not read from the disk."""
        rows = []
        with self._lock, _translated(self._folder):
            cursor = self._connection.execute(statement, values)
            for row in cursor:
                rows.append(row)
                if is_enough(row):
                    cursor.close()
                    break
        return rows

    def about(self) -> dict[str, Any]:
        """Return what `set_about` wrote."""
        return {name: json.loads(value) for name, value in self.read("SELECT name, value FROM about")}

    def set_about(self, values: Mapping[str, Any]) -> None:
        """Write settings of the collection, each as JSON."""
        with self.writing() as connection:
            rows = [(name, json.dumps(value)) for name, value in values.items()]
            connection.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", rows)

    def shrink(self) -> None:
        """Give the space of deleted rows back to the disk. It needs as much again as the database meanwhile."""
        with self._lock, _translated(self._folder):
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def revision(self) -> int:
        """Return a number that changes when another connection has written. It takes microseconds."""
        with self._lock, _translated(self._folder):
            return int(self._connection.pragma("data_version"))


def _opened(folder: Path, *, create: bool) -> apsw.Connection:
    file, flags = str(folder / FILE), apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
    if not create and os.statvfs(folder).f_flag & os.ST_RDONLY:
        log = folder / f"{FILE}-wal"
        if log.exists() and log.stat().st_size:  # SQLite would need to write to read it
            raise CollectionError(
                f"collection {folder.name} was not closed, and is on a read-only disk; open it once on another one"
            )
        file, flags = f"file:{quote(file)}?immutable=1", apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    return apsw.Connection(file, flags=flags)


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    """Errors of SQLite as errors of collections; none quotes a document."""
    try:
        yield
    except apsw.CantOpenError as error:
        raise CollectionError(f"collection {folder.name} cannot be opened: {error}") from error
    except (apsw.FullError, apsw.ReadOnlyError, apsw.IOError, apsw.PermissionsError, apsw.BusyError) as error:
        raise CollectionUnwritable(f"collection {folder.name} cannot be written: {error}") from error
    except apsw.Error as error:
        raise CollectionError(f"collection {folder.name} is damaged: {error}; restore its {FILE}") from error


def _check_readable(folder: Path) -> None:
    """OSError, which says more than SQLite would; CollectionError if there is no collection."""
    try:
        (folder / FILE).open("rb").close()
    except FileNotFoundError as error:
        raise CollectionError(f"there is no collection at {folder}; build one with `qrerank index build`") from error
