"""The documents of one collection in SQLite: the source of truth, from which everything else can be built again.

A write is on the disk when the call returns (`synchronous=FULL`). Several processes may write: SQLite lets one at a
time. APSW brings a SQLite of its own: before 3.51.3 a checkpoint could lose what another process had written to the
write-ahead log.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import numpy as np
from numpy.typing import NDArray

from retrieval.errors import CollectionError, CollectionUnwritable

FILE = "documents.sqlite"
FORMAT = 2
_PATIENCE_MS = 5_000  # for another process that writes
_NEEDED = (3, 51, 3)
_SCHEMA = f"""
PRAGMA user_version = {FORMAT};
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
-- A document gets a new number when its content changes; numbers rise, so they are also the order of the queue.
CREATE TABLE documents (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    metadata TEXT NOT NULL,
    digest BLOB NOT NULL,
    is_indexed INTEGER NOT NULL DEFAULT 0,
    fault TEXT
) STRICT;
CREATE INDEX waiting ON documents (number) WHERE NOT is_indexed;
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
CREATE INDEX passages_of ON passages (id);
"""


@dataclass(frozen=True)
class Document:
    """A text that is kept under an id."""

    id: str
    text: str
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> bytes:
        """The hash of what is encoded: title and text."""
        return hashlib.blake2b(f"{self.title}\0{self.text}".encode(), digest_size=16).digest()


@dataclass(frozen=True)
class Waiting:
    """A document that is not indexed yet."""

    number: int
    document: Document


@dataclass(frozen=True)
class SegmentRow:
    """A segment as the database knows it."""

    number: int
    live: NDArray[np.bool_]  # (n,) whether each passage is part of the collection


@dataclass(frozen=True)
class Counts:
    """How much is in a collection."""

    documents: int
    waiting: int  # documents whose content is not searchable yet
    passages: int  # that are searchable
    failed: int  # documents that the model cannot encode


class Database:
    """The open database of one collection. Thread-safe."""

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
        self._lock = threading.Lock()
        flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
        if not create:
            _check_readable(folder)
        with _translated(folder):
            self._connection = apsw.Connection(str(folder / FILE), flags=flags)
            self._connection.set_busy_timeout(_PATIENCE_MS)
            if create:
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
            self._connection.execute("PRAGMA synchronous = FULL")
            version = self._connection.pragma("user_version")
        if version != FORMAT:
            raise CollectionError(f"collection {folder.name} has format {version}, not {FORMAT}; build it again")
        self._folder = folder

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def _writing(self) -> Iterator[apsw.Connection]:
        """One transaction that writes; it waits for other processes up to five seconds."""
        with self._lock, _translated(self._folder):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _read(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock, _translated(self._folder):
            return list(self._connection.execute(statement, values))

    def about(self) -> dict[str, Any]:
        """Return what `set_about` wrote."""
        return {name: json.loads(value) for name, value in self._read("SELECT name, value FROM about")}

    def set_about(self, values: Mapping[str, Any]) -> None:
        """Write settings of the collection, each as JSON."""
        with self._writing() as connection:
            rows = [(name, json.dumps(value)) for name, value in values.items()]
            connection.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", rows)

    def put(self, documents: Iterable[Document]) -> list[str]:
        """Insert or replace documents by id, in one transaction; returns the ids whose content is new or changed.

        What is unchanged is not indexed again; only its metadata is replaced.
        """
        changed = []
        with self._writing() as connection:
            for each in documents:
                metadata = json.dumps(each.metadata, ensure_ascii=False)
                known = connection.execute("SELECT digest FROM documents WHERE id = ?", (each.id,)).get
                if known == each.digest:
                    connection.execute("UPDATE documents SET metadata = ? WHERE id = ?", (metadata, each.id))
                    continue
                connection.execute("DELETE FROM documents WHERE id = ?", (each.id,))
                connection.execute(
                    "INSERT INTO documents (id, title, text, metadata, digest) VALUES (?, ?, ?, ?, ?)",
                    (each.id, each.title, each.text, metadata, each.digest),
                )
                changed.append(each.id)
        return changed

    def delete(self, ids: Iterable[str]) -> int:
        """Delete documents with their passages; returns how many there were."""
        with self._writing() as connection:
            before = connection.total_changes()
            found = [(i,) for i in ids]
            connection.executemany("DELETE FROM documents WHERE id = ?", found)
            count = connection.total_changes() - before
            _forget(connection, [i for (i,) in found])
        return count

    def get(self, ids: Sequence[str]) -> list[Document]:
        """Return the documents with these ids, in their order; those that are not there are left out."""
        rows = self._read(
            "SELECT id, text, title, metadata FROM documents WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(ids),),
        )
        known = {row[0]: _document(row) for row in rows}
        return [known[i] for i in ids if i in known]

    def page(self, after: int, limit: int) -> list[tuple[int, Document]]:
        """Return up to `limit` documents whose numbers are above `after`, with their numbers, which rise."""
        rows = self._read(
            "SELECT id, text, title, metadata, number FROM documents WHERE number > ? ORDER BY number LIMIT ?",
            (after, limit),
        )
        return [(row[4], _document(row)) for row in rows]

    def waiting(self, limit: int) -> list[Waiting]:
        """Return the first documents that are not indexed yet."""
        rows = self._read(
            "SELECT id, text, title, metadata, number FROM documents WHERE NOT is_indexed ORDER BY number LIMIT ?",
            (limit,),
        )
        return [Waiting(row[4], _document(row)) for row in rows]

    def are_waiting(self, ids: Sequence[str] | None = None) -> bool:
        """Return whether any of these documents is not indexed yet; None: any at all."""
        where, values = ("", ()) if ids is None else (" AND id IN (SELECT value FROM json_each(?))", (json.dumps(ids),))
        return bool(self._read(f"SELECT 1 FROM documents WHERE NOT is_indexed{where} LIMIT 1", values))  # noqa: S608

    def counts(self) -> Counts:
        """Count documents and passages."""
        ((documents, waiting, passages, failed),) = self._read(
            "SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM documents WHERE NOT is_indexed), "
            "(SELECT count(*) FROM passages), (SELECT count(*) FROM documents WHERE fault IS NOT NULL)"
        )
        return Counts(documents, waiting, passages, failed)

    def revision(self) -> int:
        """Return a number that changes when another connection has written. It takes microseconds."""
        with self._lock, _translated(self._folder):
            return int(self._connection.pragma("data_version"))

    def segments(self) -> list[SegmentRow]:
        """Return all segments, in the order of their documents."""
        rows = self._read("SELECT number, rows, live FROM segments ORDER BY first_document, number")
        return [_segment(row) for row in rows]

    def add_segment(self, indexed: Sequence[Waiting], owners: Sequence[int], number: int) -> int:
        """Make the passages of a written segment searchable in place of those that their documents had.

        A document that was deleted or changed in the meantime keeps what it has: its passages in this segment stay out.

        Args:
            indexed: The documents whose passages are in the segment.
            owners: For each passage the place of its document in `indexed`.
            number: Of the segment.

        Returns:
            How many passages became searchable.
        """
        with self._writing() as connection:
            numbers = {
                n
                for (n,) in connection.execute(
                    "SELECT number FROM documents WHERE number IN (SELECT value FROM json_each(?))",
                    (json.dumps([each.number for each in indexed]),),
                )
            }
            current = [each.number in numbers for each in indexed]
            live = np.array([current[owner] for owner in owners], dtype=bool)
            ids = [each.document.id for each, is_current in zip(indexed, current, strict=True) if is_current]
            _forget(connection, ids)
            segment = (number, indexed[0].number, len(owners), _packed(live))
            connection.execute("INSERT INTO segments VALUES (?, ?, ?, ?)", segment)
            connection.executemany(
                "INSERT INTO passages VALUES (?, ?, ?)",
                [(number, row, indexed[owner].document.id) for row, owner in enumerate(owners) if live[row]],
            )
            connection.executemany("UPDATE documents SET is_indexed = 1 WHERE number = ?", [(n,) for n in numbers])
        return int(live.sum())

    def set_aside(self, waiting: Waiting, fault: str) -> None:
        """Keep a document that cannot be encoded, without passages, so that those behind it need not wait."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE documents SET is_indexed = 1, fault = ? WHERE number = ?", (fault, waiting.number)
            )
            if connection.changes():  # else it was changed or deleted meanwhile
                _forget(connection, [waiting.document.id])

    def replace_segments(self, merged: Mapping[int, NDArray[np.int64]], number: int) -> int:
        """Put one segment in the place of several; returns how many of its passages are still part of the collection.

        merged: by segment the rows of its passages that were copied, in the order of the new segment.
        """
        with self._writing() as connection:
            live, first = list[bool](), list[int]()
            for old, rows in merged.items():
                alive = {row for (row,) in connection.execute("SELECT row FROM passages WHERE segment = ?", (old,))}
                live += [row in alive for row in rows.tolist()]
                first.append(connection.execute("SELECT first_document FROM segments WHERE number = ?", (old,)).get)
            if live:
                segment = (number, min(first), len(live), _packed(np.array(live)))
                connection.execute("INSERT INTO segments VALUES (?, ?, ?, ?)", segment)
            at = 0
            for old, rows in merged.items():
                moved = [(number, at + place, old, row) for place, row in enumerate(rows.tolist())]
                connection.executemany("UPDATE passages SET segment = ?, row = ? WHERE segment = ? AND row = ?", moved)
                connection.execute("DELETE FROM segments WHERE number = ?", (old,))
                at += len(rows)
        return sum(live)

    def forget_segments(self, numbers: Iterable[int]) -> None:
        """Forget segments that are lost or damaged: their documents wait to be indexed again."""
        with self._writing() as connection:
            for number in numbers:
                connection.execute(
                    "UPDATE documents SET is_indexed = 0 WHERE id IN (SELECT id FROM passages WHERE segment = ?)",
                    (number,),
                )
                connection.execute("DELETE FROM passages WHERE segment = ?", (number,))
                connection.execute("DELETE FROM segments WHERE number = ?", (number,))

    def next_segment(self) -> int:
        """Return a number that no segment has had."""
        ((last,),) = self._read("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'segments'), 0)")
        return int(last) + 1


def _forget(connection: apsw.Connection, ids: Sequence[str]) -> None:
    """Take the passages of documents out of the collection."""
    rows = list(
        connection.execute(
            "SELECT segment, row FROM passages WHERE id IN (SELECT value FROM json_each(?)) ORDER BY segment",
            (json.dumps(ids),),
        )
    )
    by_segment: dict[int, list[int]] = {}
    for segment, row in rows:
        by_segment.setdefault(segment, []).append(row)
    for segment, dead in by_segment.items():
        stored = connection.execute("SELECT number, rows, live FROM segments WHERE number = ?", (segment,)).get
        live = _segment(stored).live
        live[dead] = False
        connection.execute("UPDATE segments SET live = ? WHERE number = ?", (_packed(live), segment))
    connection.executemany("DELETE FROM passages WHERE segment = ? AND row = ?", rows)


def _packed(live: NDArray[np.bool_]) -> bytes:
    return np.packbits(live).tobytes()


def _segment(row: tuple[Any, ...]) -> SegmentRow:
    number, rows, live = row
    return SegmentRow(number, np.unpackbits(np.frombuffer(live, dtype=np.uint8), count=rows).astype(bool))


def _document(row: tuple[Any, ...]) -> Document:
    return Document(row[0], row[1], row[2], json.loads(row[3]))


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
