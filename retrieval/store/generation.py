"""The next generation of a collection's segments: all documents encoded by another model, while the old one serves.

It has tables of its own, `next_segments` and `next_passages`. Documents are encoded in the order of their numbers, and
one that comes in or changes meanwhile has a higher number than all others: how far the encoding is, is one number. When
it has reached the last document, one transaction renames the tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import apsw
import numpy as np
from numpy.typing import NDArray

from retrieval.index.passage_index import Model
from retrieval.store import jobs
from retrieval.store.connection import TABLES, Connection
from retrieval.store.rows import SegmentRow, Waiting
from retrieval.store.segment_table import SegmentTable, forget, in_next
from retrieval.text.splitters import Chunking

_JOB = f"(SELECT key FROM jobs WHERE kind = '{jobs.ENCODE}' AND NOT is_complete)"  # noqa: S608


@dataclass(frozen=True)
class Encoding:
    """An encoding with another model, on its way."""

    model: Model
    until: int  # the number of the last document that is encoded
    done: int  # documents that are encoded
    total: int  # documents
    job: str | None  # its key, which tells it from an encoding that was begun after it was cancelled


class NextGeneration:
    """The next generation of one collection. Thread-safe."""

    def __init__(self, connection: Connection) -> None:
        """Read and write through this connection."""
        self._connection = connection
        self.segments = SegmentTable(connection, is_next=True)

    def encoding(self) -> Encoding | None:
        """Return how far it is; None if there is none."""
        found = self._connection.read(
            "SELECT value, (SELECT count(*) FROM documents WHERE number <= value ->> 'until'), "  # noqa: S608
            f"(SELECT count(*) FROM documents), {_JOB} FROM about WHERE name = 'next'"
        )
        for value, done, total, job in found:
            state = json.loads(value)
            return Encoding(Model(**state["model"]), state["until"], done, total, job)
        return None

    def begin(self, model: Model, chunking: Chunking) -> str | None:
        """Begin to encode with a model, unless that has begun; the key of the job.

        Args:
            model: The next one.
            chunking: How documents are split from now on; with the model that serves, it must be what it was.

        Returns:
            None if an encoding with another model is on its way.
        """
        with self._connection.writing() as connection:
            known = connection.execute("SELECT value ->> '$.model.digest' FROM about WHERE name = 'next'").get
            if known is None:
                connection.execute(in_next(TABLES))
                connection.execute("CREATE TABLE next_faults (number INTEGER PRIMARY KEY, fault TEXT NOT NULL) STRICT")
                ((version,),) = connection.execute("PRAGMA schema_version")  # a name that no index has
                connection.execute(f"CREATE INDEX passages_of_{version} ON next_passages (id)")
                connection.execute(
                    "INSERT OR REPLACE INTO about VALUES ('chunking', ?)", (json.dumps(asdict(chunking)),)
                )
                _note(connection, model, 0)
            return jobs.begin(connection, jobs.ENCODE) if known in (None, model.digest) else None

    def cancel(self) -> bool:
        """Forget the encoding; return whether there was one. The folders of its segments are swept."""
        with self._connection.writing() as connection:
            connection.execute("DELETE FROM about WHERE name = 'next'")
            found = connection.changes() > 0
            if found:
                connection.execute("DROP TABLE next_segments; DROP TABLE next_passages; DROP TABLE next_faults")
                jobs.end(connection, jobs.ENCODE, "it was cancelled")
        return found

    def add(self, encoding: Encoding, indexed: Sequence[Waiting], owners: Sequence[int], number: int) -> bool:
        """Enter a written segment; False if the encoding was cancelled meanwhile. See `SegmentTable.add`."""
        with self._connection.writing() as connection:
            if not _is_on(connection, encoding):
                return False
            self.segments.add(indexed, owners, number)
            _note(connection, encoding.model, indexed[-1].number)
        return True

    def rows(self, encoding: Encoding) -> list[SegmentRow]:
        """Return its segments; none if the encoding was cancelled meanwhile."""
        with self._connection.reading():
            current = self.encoding()
            return self.segments.all() if current and current.job == encoding.job else []

    def replace(self, encoding: Encoding, merged: Mapping[int, NDArray[np.int64]], number: int) -> None:
        """Put one segment in the place of several, unless the encoding was cancelled. See `SegmentTable.replace`."""
        with self._connection.writing() as connection:
            if _is_on(connection, encoding):
                self.segments.replace(merged, number)

    def set_aside(self, encoding: Encoding, document: Waiting, fault: str) -> None:
        """Pass over a document that the next model cannot encode; its older content is not found any more, either."""
        with self._connection.writing() as connection:
            if _is_on(connection, encoding):
                connection.execute("INSERT OR REPLACE INTO next_faults VALUES (?, ?)", (document.number, fault))
                forget(connection, [document.document.id], is_next=True)
                _note(connection, encoding.model, document.number)

    def switch(self, encoding: Encoding) -> bool:
        """Let the next generation serve if it has all documents; return whether it does."""
        with self._connection.writing() as connection:
            behind = connection.execute("SELECT 1 FROM documents WHERE number > ? LIMIT 1", (encoding.until,)).get
            if behind or not _is_on(connection, encoding):
                return False
            last = connection.execute("SELECT max(seq) FROM sqlite_sequence WHERE name LIKE '%segments'").get or 0
            connection.execute(
                "DROP TABLE segments; DROP TABLE passages;"
                "ALTER TABLE next_segments RENAME TO segments; ALTER TABLE next_passages RENAME TO passages;"
                "DELETE FROM about WHERE name IN ('next', 'repaired_until');"
                "UPDATE documents SET is_indexed = 1 WHERE NOT is_indexed;"
                "UPDATE documents SET fault = NULL WHERE fault IS NOT NULL;"
                "UPDATE documents SET fault = f.fault FROM next_faults AS f WHERE documents.number = f.number;"
                "DROP TABLE next_faults; DELETE FROM sqlite_sequence WHERE name = 'segments'"
            )
            connection.execute("INSERT INTO sqlite_sequence VALUES ('segments', ?)", (last,))  # no number comes twice
            model = json.dumps(asdict(encoding.model))
            connection.execute("INSERT OR REPLACE INTO about VALUES ('model', ?)", (model,))
            jobs.end(connection, jobs.ENCODE, stored=connection.execute("SELECT count(*) FROM documents").get)
        return True


def _is_on(connection: apsw.Connection, encoding: Encoding) -> bool:
    found = connection.execute(f"SELECT {_JOB} FROM about WHERE name = 'next'").fetchall()  # noqa: S608
    return found == [(encoding.job,)]


def _note(connection: apsw.Connection, model: Model, until: int) -> None:
    value = json.dumps({"model": asdict(model), "until": until})
    connection.execute("INSERT OR REPLACE INTO about VALUES ('next', ?)", (value,))
