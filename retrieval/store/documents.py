"""The table of documents: what was acknowledged is in it, once per id."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from retrieval.store.connection import Connection
from retrieval.store.filters import ALL, Where, with_ids
from retrieval.store.jobs import Writing, record
from retrieval.store.rows import Counts, Document, Waiting, digest_of
from retrieval.store.segment_table import forget, forget_everywhere

_AT_ONCE_BYTES = 2**23  # of texts that are indexed together, so that memory is bounded
_DIGESTS_AT_ONCE = 1000  # documents whose digests are compared together, if their texts are short
PAGE_CHARACTERS = 2**20  # of the texts in a page, likewise: a document may have millions


def is_full(page: Sequence[tuple[int, Document]], limit: int) -> bool:
    """Return whether more documents may follow a page."""
    return len(page) == limit or sum(len(each.text) for _, each in page) >= PAGE_CHARACTERS


class Documents:
    """The documents of a collection. Thread-safe."""

    def __init__(self, connection: Connection) -> None:
        """Read and write through this connection."""
        self._connection = connection

    def put(self, documents: Iterable[Document], job: Writing | None = None) -> list[str]:
        """Insert or replace documents by id, in one transaction; returns the ids of those that must be indexed.

        What is unchanged is not indexed again; only its metadata is replaced. One that could not be encoded is: the
        reason may have been the model's server.

        job: what the write is part of.
        """
        changed, stored, waiting = list[str](), set[str](), list[int]()
        with self._connection.writing() as connection:
            for each in documents:
                stored.add(each.id)
                metadata = json.dumps(each.metadata, ensure_ascii=False)
                known = connection.execute(
                    "SELECT digest, title, fault, number, is_indexed FROM documents WHERE id = ?", (each.id,)
                ).fetchone()
                # Of a title or a text with U+0000 the digest alone does not say where the text begins.
                if known and known[:3] == (each.digest, each.title, None):
                    connection.execute("UPDATE documents SET metadata = ? WHERE number = ?", (metadata, known[3]))
                    if not known[4]:
                        waiting.append(known[3])
                    continue
                connection.execute("DELETE FROM documents WHERE id = ?", (each.id,))
                connection.execute(
                    "INSERT INTO documents (id, title, text, metadata, digest) VALUES (?, ?, ?, ?, ?)",
                    (each.id, each.title, each.text, metadata, each.digest),
                )
                waiting.append(connection.last_insert_rowid())
                changed.append(each.id)
            if job is not None:
                record(connection, job, len(stored), len(set(changed)), waiting)
        return changed

    def delete(self, ids: Iterable[str]) -> int:
        """Delete documents with their passages; returns how many there were."""
        return self.delete_where(with_ids(list(ids)))

    def delete_where(self, where: Where) -> int:
        """Delete the documents of which a condition holds, with their passages; returns how many there were."""
        with self._connection.writing() as connection:
            found = connection.execute(f"DELETE FROM documents WHERE {where.sql} RETURNING id", where.values)  # noqa: S608
            ids = [i for (i,) in found]
            forget_everywhere(connection, ids)
        return len(ids)

    def numbers(self, where: Where, until: float = math.inf) -> list[int]:
        """Return the numbers of the documents of which a condition holds. until: as of `page`."""
        rows = self._connection.read(f"SELECT number FROM documents WHERE {where.sql}", where.values, until)  # noqa: S608
        return [number for (number,) in rows]

    def get(self, ids: Sequence[str]) -> list[Document]:
        """Return the documents with these ids, in their order; those that are not there are left out."""
        where = with_ids(ids)
        rows = self._connection.read(
            f"SELECT id, text, title, metadata FROM documents WHERE {where.sql}",  # noqa: S608
            where.values,
        )
        known = {row[0]: _document(row) for row in rows}
        return [known[i] for i in ids if i in known]

    def metadata(self, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Return the metadata of the documents with these ids that are there."""
        where = with_ids(ids)
        rows = self._connection.read(f"SELECT id, metadata FROM documents WHERE {where.sql}", where.values)  # noqa: S608
        return {i: json.loads(metadata) for i, metadata in rows}

    def page(
        self,
        after: int,
        limit: int,
        where: Where = ALL,
        until: float = math.inf,
    ) -> list[tuple[int, Document]]:
        """Return documents whose numbers are above `after`, with their numbers, which rise.

        The page ends early with the document that brings the texts to `PAGE_CHARACTERS`.

        Args:
            after: 0, or the last number of the page before.
            limit: The most documents.
            where: Which documents.
            until: FilterUnfinished if it takes longer, in `time.monotonic()` seconds.
        """
        characters = 0

        def is_enough(row: tuple[Any, ...]) -> bool:
            nonlocal characters
            characters += len(row[1])
            return characters >= PAGE_CHARACTERS

        rows = self._connection.read_until(
            is_enough,
            "SELECT id, text, title, metadata, number FROM documents "  # noqa: S608
            f"WHERE number > ? AND {where.sql} ORDER BY number LIMIT ?",
            (after, *where.values, limit),
            until,
        )
        return [(row[4], _document(row)) for row in rows]

    def waiting(self, limit: int, most_bytes: int = _AT_ONCE_BYTES, after: int = 0) -> list[Waiting]:
        """Return the first documents that are not indexed yet; none, or at least one.

        Args:
            limit: The most documents.
            most_bytes: Of their texts together, if there are several.
            after: The number of a document; those behind it.
        """
        first = "FROM documents WHERE NOT is_indexed AND number > ? ORDER BY number LIMIT ?"
        sizes = self._connection.read(f"SELECT octet_length(text) {first}", (after, limit))
        limit = min(limit, max(1, sum(total <= most_bytes for total in accumulate(size for (size,) in sizes))))
        rows = self._connection.read(f"SELECT id, text, title, metadata, number {first}", (after, limit))
        return [Waiting(row[4], _document(row)) for row in rows]

    def are_waiting(self) -> bool:
        """Return whether any document is not indexed yet."""
        return bool(self._connection.read("SELECT 1 FROM documents WHERE NOT is_indexed LIMIT 1"))

    def counts(self) -> Counts:
        """Count documents and passages."""
        ((documents, waiting, passages, failed),) = self._connection.read(
            "SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM documents WHERE NOT is_indexed), "
            "(SELECT count(*) FROM passages), (SELECT count(*) FROM documents WHERE fault IS NOT NULL)"
        )
        return Counts(documents, waiting, passages, failed)

    def set_aside(self, waiting: Waiting, fault: str) -> None:
        """Keep a document that cannot be encoded, without passages, so that those behind it need not wait."""
        with self._connection.writing() as connection:
            connection.execute(
                "UPDATE documents SET is_indexed = 1, fault = ? WHERE number = ?", (fault, waiting.number)
            )
            if connection.changes():  # else it was changed or deleted meanwhile
                forget(connection, [waiting.document.id])

    def fault(self) -> str | None:
        """Return why they are not those that were written, or None. Every page of the database is read.

        Metadata has no digest: of it only what SQLite notices is found. CollectionError where SQLite cannot go on.
        """
        ((told,),) = self._connection.read("PRAGMA integrity_check(1)")
        if told != "ok":
            return " ".join(told.split())
        changed, first, after = 0, "", 0
        while rows := self._contents(after):
            after = rows[-1][0]
            for _, name, content, digest in rows:
                if digest_of(content) != digest:
                    changed, first = changed + 1, first or repr(name.decode(errors="replace"))
        return f"{changed:,} documents not as they were written, the first one {first}" if changed else None

    def _contents(self, after: int) -> list[tuple[Any, ...]]:
        """Number, id, content and digest of the next documents behind a number; bytes, since damage may be no UTF-8."""
        size = 0

        def is_enough(row: tuple[Any, ...]) -> bool:
            nonlocal size
            size += len(row[2])
            return size >= PAGE_CHARACTERS

        return self._connection.read_until(
            is_enough,
            "SELECT number, CAST(id AS BLOB), CAST(title || x'00' || text AS BLOB), digest "
            "FROM documents WHERE number > ? ORDER BY number LIMIT ?",
            (after, _DIGESTS_AT_ONCE),
        )


def _document(row: tuple[Any, ...]) -> Document:
    return Document(row[0], row[1], row[2], json.loads(row[3]))
