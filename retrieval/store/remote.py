"""The passages of a collection whose documents are here and whose passages are in Milvus, for many machines to search.

The database decides. It knows every passage that Milvus may hold: a row is written before the passage is, and deleted
after it was. So whoever goes on after a kill or an outage makes Milvus hold what the database says, and nothing twice.
Milvus has no transactions: one lock of the collection lets nobody delete a document while its passages are written.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval.errors import CollectionUnwritable, PassageTooLarge
from retrieval.index import milvus as engine
from retrieval.index.milvus import About, Entity, MilvusIndex
from retrieval.index.milvus_client import Milvus, MilvusNotFound
from retrieval.index.passage_index import Model
from retrieval.index.segment import Block
from retrieval.states.record import TextState
from retrieval.store.connection import Connection
from retrieval.store.ledger import Ledger
from retrieval.store.rows import Waiting

_LOCK = "remote.lock"
_PAGE = 10_000  # passages that are compared at once


@dataclass(frozen=True)
class Place:
    """Where in Milvus the passages of a collection are."""

    collection: str  # in Milvus
    name: str  # of the collection
    pooled_dimension: int
    token_dimension: int

    @staticmethod
    def of(values: Mapping[str, Any] | None) -> Place | None:
        """Return what a database holds."""
        return Place(**values) if values else None

    def about(self, model: Model, language: str) -> About:
        """Return what Milvus keeps about the collection."""
        return About(self.name, model, language, self.pooled_dimension, self.token_dimension)


class Remote:
    """Where the passages of one collection are. Thread-safe; several processes may write."""

    def __init__(self, folder: Path, connection: Connection, milvus: Milvus, collection: str, about: About) -> None:
        """collection: its name in Milvus."""
        self._folder, self._ledger, self._milvus = folder, Ledger(connection), milvus
        self.collection, self._about = collection, about

    def index(self) -> MilvusIndex:
        """Return the passages for one request."""
        return MilvusIndex(self._milvus, self.collection, self._about)

    def write(
        self,
        indexed: Sequence[Waiting],
        owners: Sequence[int],
        blocks: Iterable[Block],
    ) -> None:
        """Make the passages of documents searchable in place of those that the documents had.

        Args:
            indexed: The documents.
            owners: For each passage the place of its document in `indexed`; they rise.
            blocks: The passages.
        """
        entities = list(_entities(indexed, owners, blocks))
        with self._alone():
            current = self._ledger.announce([(each.number, each.passage.id) for each in entities])
            kept = [each for each in entities if each.number in current]
            outdated = self._ledger.outdated([each.passage.id for each in kept], current)
            engine.put(self._milvus, self.collection, kept)
            self._delete_and_settle(outdated)
            self._ledger.confirm([each.number for each in indexed], outdated)

    def delete(self, delete: Callable[[], int]) -> int:
        """Delete documents from the database by `delete`, and then their passages. IndexUnavailable: these wait."""
        with self._alone():
            count = delete()
            self._flush()
        return count

    def flush(self) -> None:
        """Delete the passages whose deletion Milvus has not confirmed yet."""
        if self._ledger.removed():
            with self._alone():
                self._flush()

    def _flush(self) -> None:
        if self._ledger.removed():
            self._delete_and_settle([])

    def _delete_and_settle(self, outdated: Sequence[int]) -> None:
        removed = self._ledger.removed()
        engine.delete(self._milvus, self.collection, [*outdated, *removed])
        engine.settle(self._milvus, self.collection)
        self._ledger.forget(removed)

    def is_behind(self) -> bool:
        """Return whether Milvus has not confirmed the deletion of a passage yet."""
        return bool(self._ledger.removed())

    def publish(self) -> None:
        """Let other machines find the collection under its name, in the place of an older one, which is deleted."""
        before = engine.collection_of(self._milvus, self._about.name)
        engine.publish(self._milvus, self.collection, self._about.name)
        if before not in {None, self.collection}:
            engine.drop(self._milvus, before)

    def renew(self) -> None:
        """Let all documents wait, and hold no passage, after Milvus lost some."""
        with self._alone():
            engine.drop(self._milvus, self.collection)
            engine.create(self._milvus, self._about, self.collection)
            self._ledger.reset()
        self.publish()

    def drop(self) -> None:
        """Delete the passages of all documents, and the collection in Milvus."""
        engine.drop(self._milvus, self.collection)

    def fault(self) -> str | None:
        """Why Milvus does not hold exactly what the database says, or None. It compares the numbers of all passages."""
        with self._alone():
            self._flush()
            expected, missing, after = 0, 0, 0
            try:
                while page := self._ledger.page(after, _PAGE):
                    expected, after = expected + len(page), page[-1]
                    missing += len(page) - len(engine.held(self._milvus, self.collection, page))
                surplus = engine.count(self._milvus, self.collection) - (expected - missing)
            except MilvusNotFound:
                return "its passages are not in Milvus"
        return f"Milvus lacks {missing} passages and holds {surplus} too many" if missing or surplus else None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait for other processes and threads that write passages; each holds the lock for a few requests."""
        try:
            handle = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise CollectionUnwritable(f"collection {self._folder.name} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _entities(indexed: Sequence[Waiting], owners: Sequence[int], blocks: Iterable[Block]) -> Iterator[Entity]:
    places: dict[int, int] = {}
    numbers = iter(owners)
    for block in blocks:
        for at, (passage, terms) in enumerate(zip(block.passages, block.terms, strict=True)):
            owner = next(numbers)
            place = places[owner] = places.get(owner, -1) + 1
            if place == engine.PLACES:
                raise PassageTooLarge(
                    f"it has more than {engine.PLACES} chunks, the most that Milvus takes of a document"
                )
            state = TextState(block.states.take([at]), terms)
            yield Entity(indexed[owner].number * engine.PLACES + place, passage, state)
