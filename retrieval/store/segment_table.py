"""The table of segments: which there are, and which of their passages are part of the collection."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import apsw
import numpy as np
from numpy.typing import NDArray

from retrieval.store.connection import Connection
from retrieval.store.filters import Where
from retrieval.store.rows import SegmentRow, Waiting

_TABLES = re.compile(r"\b(segments|passages)\b")
NO_SEGMENT = 0  # of passages that are not in a segment but in Milvus, see `retrieval.store.ledger`


class SegmentTable:
    """The segments of a collection. Thread-safe."""

    def __init__(self, connection: Connection, *, is_next: bool = False) -> None:
        """Read and write through this connection. is_next: the segments of the next generation, see `generation`."""
        self._connection, self._is_next = connection, is_next

    def _sql(self, statement: str) -> str:
        """A statement about the serving tables, as one about those of this generation."""
        return in_next(statement) if self._is_next else statement

    def all(self) -> list[SegmentRow]:
        """Return all segments, in the order of their documents."""
        statement = self._sql("SELECT number, rows, live FROM segments ORDER BY first_document, number")
        rows = self._connection.read(statement)
        return [_segment(row) for row in rows]

    def rows(self, where: Where, until: float = math.inf) -> dict[int, NDArray[np.int64]]:
        """Return by segment the rows of the passages of some documents, all as of one moment.

        FilterUnfinished if that takes until this time, in `time.monotonic()` seconds.
        """
        found = self._connection.read(
            "SELECT segment, json_group_array(row) FROM documents CROSS JOIN passages USING (id) "  # noqa: S608
            f"WHERE {where.sql} GROUP BY segment",
            where.values,
            until,
        )
        return {segment: np.array(json.loads(rows), dtype=np.int64) for segment, rows in found}

    def add(self, indexed: Sequence[Waiting], owners: Sequence[int], number: int) -> None:
        """Make the passages of a written segment searchable in place of those that their documents had.

        A document that was deleted or changed in the meantime keeps what it has: its passages in this segment stay out.

        Args:
            indexed: The documents whose passages are in the segment.
            owners: For each passage the place of its document in `indexed`.
            number: Of the segment.
        """
        with self._connection.writing() as connection:
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
            forget(connection, ids, is_next=self._is_next)
            segment = (number, indexed[0].number, len(owners), _packed(live))
            connection.execute(self._sql("INSERT INTO segments VALUES (?, ?, ?, ?)"), segment)
            connection.executemany(
                self._sql("INSERT INTO passages VALUES (?, ?, ?)"),
                [(number, row, indexed[owner].document.id) for row, owner in enumerate(owners) if live[row]],
            )
            if not self._is_next:
                connection.executemany("UPDATE documents SET is_indexed = 1 WHERE number = ?", [(n,) for n in numbers])

    def replace(self, merged: Mapping[int, NDArray[np.int64]], number: int) -> None:
        """Put one segment in the place of several; what was deleted meanwhile stays out.

        merged: by segment the rows of its passages that were copied, in the order of the new segment.
        """
        with self._connection.writing() as connection:
            live, first = list[bool](), list[int]()
            for old, rows in merged.items():
                kept = {
                    row
                    for (row,) in connection.execute(self._sql("SELECT row FROM passages WHERE segment = ?"), (old,))
                }
                live += [row in kept for row in rows.tolist()]
                first.append(
                    connection.execute(self._sql("SELECT first_document FROM segments WHERE number = ?"), (old,)).get
                )
            if live:
                segment = (number, min(first), len(live), _packed(np.array(live)))
                connection.execute(self._sql("INSERT INTO segments VALUES (?, ?, ?, ?)"), segment)
            at = 0
            for old, rows in merged.items():
                moved = [(number, at + place, old, row) for place, row in enumerate(rows.tolist())]
                move = self._sql("UPDATE passages SET segment = ?, row = ? WHERE segment = ? AND row = ?")
                connection.executemany(move, moved)
                connection.execute(self._sql("DELETE FROM segments WHERE number = ?"), (old,))
                at += len(rows)

    def ids(self, number: int, after: int, most: int) -> dict[int, str]:
        """Return the document's id of up to `most` passages of a segment, by row, of the rows above `after`."""
        statement = self._sql("SELECT row, id FROM passages WHERE segment = ? AND row > ? ORDER BY row LIMIT ?")
        return dict(self._connection.read(statement, (number, after, most)))

    def forget(self, numbers: Iterable[int]) -> None:
        """Forget segments that are lost or damaged: their documents wait to be indexed again."""
        with self._connection.writing() as connection:
            for number in numbers:
                connection.execute(
                    "UPDATE documents SET is_indexed = 0 WHERE id IN (SELECT id FROM passages WHERE segment = ?)",
                    (number,),
                )
                connection.execute("DELETE FROM passages WHERE segment = ?", (number,))
                connection.execute("DELETE FROM segments WHERE number = ?", (number,))
                connection.execute(
                    "INSERT OR REPLACE INTO about SELECT 'repaired_until', coalesce(max(number), 0) FROM documents"
                )

    def is_repairing(self) -> bool:
        """Return whether documents of segments that were forgotten still wait, and so are not found."""
        return bool(
            self._connection.read(
                "SELECT 1 FROM documents WHERE NOT is_indexed AND number <= "
                "(SELECT CAST(value AS INTEGER) FROM about WHERE name = 'repaired_until') LIMIT 1"
            )
        )

    def next_number(self) -> int:
        """Return a number that no segment has had."""
        ((last,),) = self._connection.read(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name IN ('segments', 'next_segments')"
        )
        return int(last) + 1


def in_next(statement: str) -> str:
    """Return a statement about the tables of the next generation in place of the serving ones."""
    return _TABLES.sub(r"next_\1", statement)


def forget_everywhere(connection: apsw.Connection, ids: Sequence[str]) -> None:
    """Take the passages of documents out of the collection, and out of its next generation."""
    forget(connection, ids)
    if connection.execute("SELECT 1 FROM about WHERE name = 'next'").get:
        forget(connection, ids, is_next=True)


def forget(connection: apsw.Connection, ids: Sequence[str], *, is_next: bool = False) -> None:
    """Take the passages of documents out of one generation of the collection."""

    def sql(statement: str) -> str:
        return in_next(statement) if is_next else statement

    rows = list(
        connection.execute(
            sql("SELECT segment, row FROM passages WHERE id IN (SELECT value FROM json_each(?)) ORDER BY segment"),
            (json.dumps(ids),),
        )
    )
    by_segment: dict[int, list[int]] = {}
    for segment, row in rows:
        by_segment.setdefault(segment, []).append(row)
    if NO_SEGMENT in by_segment:
        connection.executemany("INSERT INTO removed VALUES (?)", [(row,) for row in by_segment.pop(NO_SEGMENT)])
    for segment, dead in by_segment.items():
        stored = connection.execute(sql("SELECT number, rows, live FROM segments WHERE number = ?"), (segment,)).get
        live = _segment(stored).live
        live[dead] = False
        connection.execute(sql("UPDATE segments SET live = ? WHERE number = ?"), (_packed(live), segment))
    connection.executemany(sql("DELETE FROM passages WHERE segment = ? AND row = ?"), rows)


def _packed(live: NDArray[np.bool_]) -> bytes:
    return np.packbits(live).tobytes()


def _segment(row: tuple[Any, ...]) -> SegmentRow:
    number, rows, live = row
    return SegmentRow(number, np.unpackbits(np.frombuffer(live, dtype=np.uint8), count=rows).astype(bool))
