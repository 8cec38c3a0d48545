"""What the database of a collection knows of passages that are not in segments but in Milvus.

Milvus holds no passage that is neither in `passages` nor in `removed`, whenever a process is killed: a passage is
announced before it is written, and forgotten after it was deleted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from retrieval.index.milvus import PLACES
from retrieval.store.connection import Connection
from retrieval.store.segment_table import NO_SEGMENT


class Ledger:
    """The passages of one collection in Milvus, by number. Thread-safe, as its database is."""

    def __init__(self, connection: Connection) -> None:
        """connection: to a database for which `create` was called."""
        self._connection = connection

    @staticmethod
    def create(connection: Connection) -> None:
        """Make the table of passages that are deleted, and not yet in Milvus."""
        with connection.writing() as writing:
            writing.execute("CREATE TABLE removed (number INTEGER PRIMARY KEY) STRICT")

    def announce(self, passages: Sequence[tuple[int, str]]) -> set[int]:
        """Note that passages will be written, as far as their documents are still those that were encoded.

        passages: (number, id of the document) of each. Returns the numbers of those to write.
        """
        with self._connection.writing() as connection:
            known = {
                number
                for (number,) in connection.execute(
                    "SELECT number FROM documents WHERE number IN (SELECT value FROM json_each(?))",
                    (json.dumps(sorted({number // PLACES for number, _ in passages})),),
                )
            }
            current = [(number, i) for number, i in passages if number // PLACES in known]
            connection.executemany(
                f"INSERT OR IGNORE INTO passages VALUES ({NO_SEGMENT}, ?, ?)",  # noqa: S608
                current,
            )
        return {number for number, _ in current}

    def outdated(self, ids: Iterable[str], current: set[int]) -> list[int]:
        """Return the numbers of all passages of these documents that are not current any more."""
        rows = self._connection.read(
            "SELECT row FROM passages WHERE segment = ? AND id IN (SELECT value FROM json_each(?))",
            (NO_SEGMENT, json.dumps(sorted(set(ids)))),
        )
        return [number for (number,) in rows if number not in current]

    def confirm(self, documents: Iterable[int], deleted: Sequence[int]) -> None:
        """Note that the passages of documents, by number, are found, and that those deleted are not any more."""
        with self._connection.writing() as connection:
            connection.executemany("UPDATE documents SET is_indexed = 1 WHERE number = ?", [(n,) for n in documents])
            rows = [(NO_SEGMENT, number) for number in deleted]
            connection.executemany("DELETE FROM passages WHERE segment = ? AND row = ?", rows)

    def removed(self) -> list[int]:
        """Return the numbers of passages whose documents were deleted, and which Milvus may still hold."""
        return [number for (number,) in self._connection.read("SELECT number FROM removed")]

    def forget(self, removed: Sequence[int]) -> None:
        """Note that Milvus has deleted these of the removed."""
        with self._connection.writing() as connection:
            connection.executemany("DELETE FROM removed WHERE number = ?", [(number,) for number in removed])

    def page(self, after: int, limit: int) -> list[int]:
        """Return up to `limit` numbers above `after` of passages that must be found, rising."""
        rows = self._connection.read(
            f"SELECT row FROM passages WHERE segment = ? AND row > ? AND row / {PLACES} NOT IN "  # noqa: S608
            "(SELECT number FROM documents WHERE NOT is_indexed) ORDER BY row LIMIT ?",
            (NO_SEGMENT, after, limit),
        )
        return [number for (number,) in rows]

    def reset(self) -> None:
        """Let all documents wait, since Milvus holds nothing of them any more."""
        with self._connection.writing() as connection:
            connection.execute("UPDATE documents SET is_indexed = 0 WHERE fault IS NULL")
            connection.execute("DELETE FROM passages WHERE segment = ?", (NO_SEGMENT,))
            connection.execute("DELETE FROM removed")
