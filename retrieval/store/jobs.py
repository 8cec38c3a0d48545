"""The table of jobs: work that clients follow. How far it is, is derived from the documents, by every process alike.

A write is done when none of its documents waits. They are indexed in the order of their numbers, so it is enough to
know the first and the last one.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import apsw

from retrieval.store.connection import Connection

KEPT = 10_000  # older jobs are forgotten, but for those that the indexer has still to do
LOST_AFTER_S = 60.0  # a write that says nothing for so long was killed
Status = Literal["running", "done", "failed"]

WRITE, COMPACT, ENCODE = "documents", "compact", "encode"
_COLUMNS = """
SELECT key, kind, created_at, updated_at, stored, changed, rejected, is_complete, error,
    (SELECT count(*) FROM documents WHERE NOT is_indexed AND number BETWEEN first AND last),
    (SELECT count(*) FROM documents WHERE fault IS NOT NULL AND number BETWEEN first AND last)
FROM jobs
"""


@dataclass(frozen=True)
class Job:
    """Some work, and how far it is."""

    key: str  # names it within its collection
    kind: str  # WRITE, COMPACT or ENCODE
    created_at: float  # seconds since the epoch
    updated_at: float  # when it last wrote
    stored: int  # documents that are on the disk, the unchanged ones among them
    changed: int  # documents whose content is new
    rejected: int  # documents that were not taken
    is_complete: bool  # whether nothing more will be written
    error: str | None
    waiting: int  # documents that are not searchable yet; of ENCODE: not encoded yet
    failed: int  # documents that the model cannot encode
    hindrance: str | None = None  # why those that wait cannot go on here now, though nothing is lost

    @property
    def status(self) -> Status:
        """What became of it."""
        is_lost = self.kind == WRITE and not self.is_complete and time.time() > self.updated_at + LOST_AFTER_S
        if self.error is not None or is_lost:
            return "failed"
        return "done" if self.is_complete and not self.waiting else "running"

    @property
    def total(self) -> int:
        """How many steps there are, as far as they are known."""
        return 1 if self.kind == COMPACT else self.stored

    @property
    def done(self) -> int:
        """How many steps are done: documents that are searchable, or encoded."""
        return int(self.is_complete) if self.kind == COMPACT else max(0, self.stored - self.waiting)

    @property
    def seconds_left(self) -> float | None:
        """An estimate by the speed so far; None if it is not known yet, or if nothing is left to wait for."""
        indexed = (self.stored if self.kind == ENCODE else self.changed) - self.waiting
        if self.status != "running" or indexed <= 0:
            return None
        return self.waiting * max(0.0, time.time() - self.created_at) / indexed


@dataclass(frozen=True)
class Writing:
    """What a transaction says of the job that it belongs to; the first one makes the job."""

    key: str
    rejected: int = 0  # documents that were not taken, besides those that other transactions told of
    is_complete: bool = True  # whether it is the last one
    error: str | None = None  # why the job ends before its end


class Jobs:
    """The jobs of a collection. Thread-safe."""

    def __init__(self, connection: Connection) -> None:
        """Read and write through this connection."""
        self._connection = connection

    def get(self, key: str) -> Job | None:
        """Return a job; None if there is none, or it was forgotten."""
        rows = self._connection.read(f"{_COLUMNS} WHERE key = ?", (key,))
        return _job(rows[0]) if rows else None

    def newest(self, limit: int) -> list[Job]:
        """Return the newest jobs, the newest first."""
        return [_job(row) for row in self._connection.read(f"{_COLUMNS} ORDER BY number DESC LIMIT ?", (limit,))]

    def request(self, kind: str) -> str:
        """Make a job for the indexer; the key of one that is not done yet is returned instead."""
        with self._connection.writing() as connection:
            return begin(connection, kind)

    def skip(self, kind: str) -> str:
        """Make a job that is done: there is nothing to do."""
        with self._connection.writing() as connection:
            return _insert(connection, kind, is_complete=True)

    def is_requested(self, kind: str) -> bool:
        """Return whether the indexer has such a job to do."""
        return bool(self._connection.read("SELECT 1 FROM jobs WHERE kind = ? AND NOT is_complete LIMIT 1", (kind,)))

    def complete(self, kind: str, error: str | None = None) -> None:
        """End the jobs of this kind."""
        with self._connection.writing() as connection:
            end(connection, kind, error)


def new_key() -> str:
    """Return a key for a job. A collection that takes the place of another one has none of the other's keys."""
    return secrets.token_hex(8)


def begin(connection: apsw.Connection, kind: str) -> str:
    """Make a job within a transaction; the key of one of this kind that is not done yet is returned instead."""
    known = connection.execute("SELECT key FROM jobs WHERE kind = ? AND NOT is_complete", (kind,)).get
    if known is not None:
        return str(known)
    return _insert(connection, kind, is_complete=False)


def _insert(connection: apsw.Connection, kind: str, *, is_complete: bool) -> str:
    key, now = new_key(), time.time()
    connection.execute(
        "INSERT INTO jobs (key, kind, created_at, updated_at, is_complete) VALUES (?, ?, ?, ?, ?)",
        (key, kind, now, now, int(is_complete)),
    )
    return key


def end(connection: apsw.Connection, kind: str, error: str | None = None, stored: int = 0) -> None:
    """End the jobs of a kind within a transaction. stored: the documents that it was about."""
    connection.execute(
        "UPDATE jobs SET is_complete = 1, updated_at = ?, error = ?, stored = ? WHERE kind = ? AND NOT is_complete",
        (time.time(), error, stored, kind),
    )


def record(connection: apsw.Connection, writing: Writing, stored: int, changed: int, numbers: Collection[int]) -> None:
    """Write down what a transaction did for its job.

    Args:
        connection: Within the transaction.
        writing: The job.
        stored: Documents that it stored.
        changed: How many of them are new or have new contents.
        numbers: Those of its documents that wait.
    """
    now, first, last = time.time(), min(numbers, default=None), max(numbers, default=None)
    connection.execute(
        """
        INSERT INTO jobs (key, kind, created_at, updated_at, stored, changed, rejected, first, last, is_complete, error)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (key) DO UPDATE SET
            updated_at = excluded.updated_at,
            stored = stored + excluded.stored,
            changed = changed + excluded.changed,
            rejected = rejected + excluded.rejected,
            first = min(coalesce(first, excluded.first), coalesce(excluded.first, first)),
            last = max(coalesce(last, excluded.last), coalesce(excluded.last, last)),
            is_complete = excluded.is_complete,
            error = excluded.error
        """,
        (
            writing.key,
            WRITE,
            now,
            now,
            stored,
            changed,
            writing.rejected,
            first,
            last,
            int(writing.is_complete),
            writing.error,
        ),
    )
    connection.execute(
        "DELETE FROM jobs WHERE number <= (SELECT max(number) FROM jobs) - ? AND (is_complete OR kind = ?)",
        (KEPT, WRITE),  # what the indexer has still to do is kept
    )


def _job(row: tuple[Any, ...]) -> Job:
    key, kind, created_at, updated_at, stored, changed, rejected, is_complete, error, waiting, failed = row
    return Job(key, kind, created_at, updated_at, stored, changed, rejected, bool(is_complete), error, waiting, failed)
