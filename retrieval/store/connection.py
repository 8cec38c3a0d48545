"""The SQLite database of one collection: the source of truth, from which everything else can be built again.

A write is on the disk when the call returns (`synchronous=FULL`). Several processes may write: SQLite lets one at a
time. APSW brings a SQLite of its own: before 3.51.3 a checkpoint could lose what another process had written to the
write-ahead log.

On a local disk only writers wait for each other, thanks to the write-ahead log. It needs memory that all processes
share, which those of several machines cannot: on a network file system there is a rollback journal instead, and readers
and writers wait for each other.
"""

from __future__ import annotations

import errno
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw

from retrieval.errors import CollectionError, CollectionUnwritable, FilterUnfinished
from retrieval.store.file_systems import network_file_system
from retrieval.store.filters import instant

FILE = "documents.sqlite"
FORMAT = 3
_PATIENCE_MS = 5_000  # for another process that writes
_ROLLBACK_PATIENCE_MS = 30_000  # for another process that reads or writes: a filter may read all documents
_MOST_EMPTY = 4  # one page in so many may be empty: the next writes use it
_PAGES_KEPT = 64  # 256 kB are not worth the writing
_PAGES = 2_000  # 8 MB are given back at a time
_LOG_BYTES = 2**22  # of a write-ahead log that is written anew: at this length SQLite empties it by itself
_STEPS = 10_000  # of SQLite, some milliseconds, between two looks at the clock
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


def identity_of(folder: Path) -> tuple[int, int] | None:
    """Identifies a collection, so that another one in its place is noticed; two system calls, and no file is opened."""
    try:
        return folder.stat().st_ino, (folder / FILE).stat().st_ino
    except OSError:
        return None


def is_unreadable(folder: Path) -> bool:
    """Return whether a folder has a database that can be opened no more: it is damaged, or of another version."""
    try:
        Connection(folder).close()
    except (CollectionUnwritable, OSError):  # nothing is known of it
        return False
    except CollectionError:
        return identity_of(folder) is not None
    return False


class Connection:
    """An open connection to the database of one collection. Thread-safe."""

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        """Open the database of a folder.

        Args:
            folder: The folder of the collection.
            create: Make a new one.

        Raises:
            CollectionError: There is none, or it is damaged or of another version.
            CollectionUnwritable: It was moved to a network file system, and is open elsewhere.
            OSError: It cannot be read.
        """
        if tuple(map(int, apsw.sqlite_lib_version().split("."))) < _NEEDED:
            raise CollectionError(f"SQLite {apsw.sqlite_lib_version()} can lose writes; install apsw>=3.51.3")
        self._lock = threading.RLock()  # `reading` reads several times
        if not create:
            _check_readable(folder)
        self._folder, self.network = folder, network_file_system(folder)  # such as "nfs4"; None: it is on a local disk
        with _translated(folder):
            self._connection = _opened(folder, self.network, create=create)
            self._connection.set_busy_timeout(_PATIENCE_MS)
            if self.network:
                _share_no_memory(self._connection, folder, self.network)
            if create:
                self._connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                if not self.network:
                    self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.pragma("journal_size_limit", _LOG_BYTES)  # else a log stays as long as it ever was
            self._connection.create_scalar_function("instant", instant, 1, deterministic=True)  # type: ignore[arg-type]
            version = self._connection.pragma("user_version")
            if self.journal() != "wal":
                self._connection.set_busy_timeout(_ROLLBACK_PATIENCE_MS)
        if version != FORMAT:
            raise CollectionError(_why_not(folder.name, version))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def writing(self) -> Iterator[apsw.Connection]:
        """One transaction that writes; it waits for other processes, up to five seconds with a write-ahead log.

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

    def read(
        self, statement: str, values: Sequence[Any] | Mapping[str, Any] = (), until: float = math.inf
    ) -> list[tuple[Any, ...]]:
        """Return the rows of a statement; FilterUnfinished after `until`, in `time.monotonic()` seconds."""
        with self._lock, _translated(self._folder), self._ending(until):
            return list(self._connection.execute(statement, values))

    def interrupt(self) -> None:
        """Let what another thread reads fail with FilterUnfinished."""
        self._connection.interrupt()

    @contextmanager
    def _ending(self, until: float) -> Iterator[None]:
        """Interrupt what is read within the block at this time."""
        if until < math.inf:
            self._connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
        try:
            yield
        finally:
            self._connection.set_progress_handler(None)

    def read_until(
        self,
        is_enough: Callable[[tuple[Any, ...]], bool],
        statement: str,
        values: Sequence[Any],
        until: float = math.inf,
    ) -> list[tuple[Any, ...]]:
        """Return rows up to the first one that is enough. The rest is not read from the disk. until: as of `read`."""
        rows = []
        with self._lock, _translated(self._folder), self._ending(until):
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
        """Give the space of deleted rows back to the disk. It needs as much again as the database meanwhile.

        A database that came from a network file system gets a write-ahead log again: not before, since a process on
        another machine that has it open would not notice.
        """
        with self._lock, _translated(self._folder):
            self._connection.execute("VACUUM")
            if not self.network:
                self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def trim(self) -> bool:
        """Give some space back to the disk if more than a fourth of the database is empty; whether it was.

        It takes a fraction of a second, so that other writers need not wait long.
        """
        with self._lock, _translated(self._folder):
            pragma = self._connection.pragma
            free = pragma("freelist_count")
            if pragma("auto_vacuum") == 0 or free < _PAGES_KEPT or free * _MOST_EMPTY <= pragma("page_count"):
                return False
            list(self._connection.execute(f"PRAGMA incremental_vacuum({_PAGES})"))
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")  # which shortens the file
            return True

    def journal(self) -> str:
        """Return what makes transactions atomic: "wal" is a write-ahead log, all else a rollback journal."""
        with self._lock, _translated(self._folder):
            return str(self._connection.pragma("journal_mode"))

    def revision(self) -> int:
        """Return a number that changes when another connection has written. It takes microseconds.

        On a network file system it asks the server for a lock.
        """
        with self._lock, _translated(self._folder):
            return int(self._connection.pragma("data_version"))


def _opened(folder: Path, network: str | None, *, create: bool) -> apsw.Connection:
    file, flags = str(folder / FILE), apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
    if not create and os.statvfs(folder).f_flag & os.ST_RDONLY:
        for journal in (folder / f"{FILE}-wal", folder / f"{FILE}-journal"):
            if journal.exists() and journal.stat().st_size:  # SQLite would need to write to read it
                raise CollectionError(
                    f"collection {folder.name} was not closed, and is on a read-only disk; open it once on another one"
                )
        flags = apsw.SQLITE_OPEN_READONLY
        if not network:  # there, another machine may write
            file, flags = f"file:{quote(file)}?immutable=1", flags | apsw.SQLITE_OPEN_URI
    return apsw.Connection(file, flags=flags)


def _share_no_memory(connection: apsw.Connection, folder: Path, network: str) -> None:
    """Use a rollback journal. The write-ahead log of a database that was moved here ends, if nobody else uses it."""
    place = f"collection {folder.name} is on a network file system ({network})"
    try:
        connection.pragma("locking_mode", "EXCLUSIVE")  # so that SQLite reads the log without shared memory
        connection.pragma("journal_mode", "TRUNCATE")
        connection.pragma("locking_mode", "NORMAL")
        connection.pragma("user_version")  # which frees the lock
    except apsw.BusyError as error:
        if not (folder / f"{FILE}-wal").exists():
            raise
        raise CollectionUnwritable(
            f"{place}, and another process has it open with a write-ahead log, which it cannot have there; "
            "stop that process first"
        ) from error
    except apsw.Error as error:
        if not connection.readonly("main"):
            raise
        raise CollectionError(f"{place} that is read-only, with a write-ahead log; open it once for writing") from error


def _why_not(name: str, version: int) -> str:
    """Why a database of another version is not opened, and what to do. 0: no version of ours made it."""
    if version == 0:
        return f"collection {name} is damaged: {FILE} is empty, or not ours; restore its folder from a backup"
    return (
        f"collection {name} has format {version}, not {FORMAT}; get its documents by `qrerank index export {name} > "
        f"SOURCE` of the version that made it, then `qrerank index build {name} SOURCE --force`"
    )


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    """Errors of SQLite as errors of collections; none quotes a document."""
    try:
        yield
    except apsw.InterruptError as error:
        raise FilterUnfinished("the filter takes too long on so many documents; send fewer conditions") from error
    except apsw.CantOpenError as error:
        raise CollectionError(
            f"collection {folder.name} cannot be opened: {error}; see that its files may be read"
        ) from error
    except (apsw.FullError, apsw.ReadOnlyError, apsw.IOError, apsw.PermissionsError, apsw.BusyError) as error:
        raise CollectionUnwritable(f"collection {folder.name} cannot be written: {error}") from error
    except apsw.Error as error:
        raise CollectionError(
            f"collection {folder.name} is damaged: {error}; restore its folder from a backup"
        ) from error


def _check_readable(folder: Path) -> None:
    """OSError, which says more than SQLite would; CollectionError if there is no collection.

    The file itself is not opened: closing it would free the locks that other connections of this process hold on it.
    """
    file = folder / FILE
    try:
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))  # a pipe would wait for a writer
    except FileNotFoundError:
        raise CollectionError(
            f"there is no collection at {folder}; build one with `qrerank index build {folder.name} SOURCE`, or choose "
            "one of `qrerank index list`"
        ) from None
    if not file.exists():
        raise CollectionError(
            f"the folder {folder} holds no collection of this version; have it built again by `qrerank index build "
            f"{folder.name} SOURCE --force`, or choose another name"
        )
    if not os.access(file, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
