"""Collections that clients change: waiting documents become searchable in the background.

Every process may take documents; one at a time indexes a collection. A document is acknowledged once it is on the disk,
so a process that ends costs nothing: the next one goes on.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from app.engine.engine import Engine
from app.errors import CollectionReadOnly, Conflict, InvalidRequest, NotReady, UnknownCollection
from app.ranking import Reranker
from app.service.collections import OpenCollections
from retrieval.deadline import Cancelled, Deadline
from retrieval.encoder.states import Encoded, join
from retrieval.errors import CollectionError, CollectionUnwritable
from retrieval.index.passage_index import Model
from retrieval.store.collection import Collection, CollectionSettings, remove
from retrieval.store.database import Document
from retrieval.store.indexer import index_waiting, indexing, merge, sweep

log = logging.getLogger(__name__)

_CALLER = "indexing"  # gets one caller's share of the encoder
_AT_ONCE = 256  # documents that become searchable together
_LOOK_EVERY_S = 0.02
_EVERY_S = 1.0  # looks for documents that another process took, or left


@dataclass(frozen=True)
class Description:
    """A collection as its clients see it."""

    name: str
    documents: int
    passages: int  # that are searchable
    waiting: int  # documents that are not searchable yet
    model: str
    language: str


class _InBackground:
    """An encoder that takes its share of the passes beside the requests."""

    def __init__(self, reranker: Reranker, stopped: Deadline) -> None:
        self._source, self._stopped = reranker.source, stopped
        self.name, self.digest = reranker.encoder.name, reranker.encoder.digest

    def encode(self, texts: Sequence[str]) -> Encoded:
        tokens, keys = self._source.encoder.tokenize(texts), [_key(text) for text in texts]
        states = self._source.shared_encoder.encode(keys, tokens, math.inf, self._stopped, counted=False)
        return join([state for state in states if state])


def _key(text: str) -> bytes:
    """Equal for equal texts; no key of a request's text is equal."""
    return b"indexing" + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@dataclass
class Ingestion:
    """Changes collections. Its methods block; call them in a thread."""

    collections: OpenCollections
    engine: Engine
    _wake: threading.Event = field(default_factory=threading.Event)
    _stopped: Deadline = field(default_factory=partial(Deadline, caller=_CALLER))
    _swept: set[str] = field(default_factory=set)  # collections in which nothing of a killed process is left
    _faults: dict[str, str] = field(default_factory=dict)  # why a collection cannot be indexed

    def create(self, name: str, model: str | None, language: str) -> tuple[Description, bool]:
        """Make a collection, unless there is one like it; its description, and whether it is new.

        Conflict if one of this name has another model or language.
        """
        models = self.engine.ready_models()
        if model is not None and model not in models.names():
            raise InvalidRequest(
                f"model: none of this name is served; there are {', '.join(models.names())}", ("model",)
            )
        encoder = models.choose(model).reranker.encoder
        settings = CollectionSettings(
            Model(encoder.name, encoder.digest, encoder.arithmetic, encoder.max_tokens), language
        )
        try:
            Collection.create(self.collections.folder(name), settings)
        except FileExistsError:
            found = self.collections.store(name).settings
            if (found.model.digest, found.language) != (encoder.digest, language):
                raise Conflict(
                    f"there is a collection {name!r} of the model {found.model.name!r} and the language "
                    f"{found.language!r}; delete it first, or choose another name"
                ) from None
            return self.describe(name), False
        except OSError as error:
            raise CollectionReadOnly(f"the collection {name!r} cannot be made: {error.strerror}") from error
        return self.describe(name), True

    def describe(self, name: str) -> Description:
        """The description of a collection."""
        collection = self.collections.store(name)
        counts, settings = collection.counts(), collection.settings
        return Description(
            name, counts.documents, counts.passages, counts.waiting, settings.model.name, settings.language
        )

    def describe_all(self) -> list[Description]:
        """The descriptions of all collections that can be opened, by name."""
        found = []
        for name in self.collections.names():
            try:
                found.append(self.describe(name))
            except (CollectionError, UnknownCollection):  # deleted meanwhile, or damaged: its own address says how
                continue
        return found

    def delete_collection(self, name: str) -> None:
        """Delete a collection with its documents."""
        self.collections.store(name)
        with _writable(name):
            remove(self.collections.folder(name))

    def put(self, name: str, documents: Sequence[Document]) -> list[str]:
        """Write documents to the disk; the ids of those whose content is new or changed, and which now wait."""
        collection = self.collections.store(name)
        with _writable(name):
            changed = collection.put(documents)
        self._wake.set()
        return changed

    def delete(self, name: str, ids: Sequence[str]) -> int:
        """Delete documents; how many there were. The next search does not find them."""
        collection = self.collections.store(name)
        with _writable(name):
            return collection.delete(ids)

    def get(self, name: str, ids: Sequence[str]) -> list[Document]:
        """The documents with these ids, in their order; those that are not there are left out."""
        return self.collections.store(name).documents(ids)

    def page(self, name: str, after: int, limit: int) -> list[tuple[int, Document]]:
        """Up to `limit` documents with numbers above `after`, with their numbers."""
        return self.collections.store(name).page(after, limit)

    async def searchable(self, name: str, ids: Sequence[str], until: Deadline) -> bool:
        """Wait until these documents are searchable; False if the deadline came first."""
        while await asyncio.to_thread(self.collections.store(name).are_waiting, ids):
            if time.monotonic() > until.at:
                return False
            await asyncio.sleep(_LOOK_EVERY_S)
        return True

    def start(self) -> None:
        """Start the thread that makes waiting documents searchable."""
        threading.Thread(target=self._run, name=_CALLER, daemon=True).start()

    def stop(self) -> None:
        """End the thread. What it was doing is done again by whoever is next."""
        self._stopped.cancel()
        self._wake.set()

    def _run(self) -> None:
        while not self._stopped.cancelled:
            found = [self._index(name) for name in self.collections.names()]
            if not any(found):
                self._wake.wait(_EVERY_S)
                self._wake.clear()

    def _index(self, name: str) -> bool:
        """Make some waiting documents of a collection searchable; whether there were some."""
        try:
            collection = self.collections.store(name)
            if not collection.are_waiting():
                return False
            reranker = self._reranker(collection)
            with indexing(collection) as alone:
                if not alone:
                    return False
                if name not in self._swept:
                    sweep(collection)
                    self._swept.add(name)
                done = index_waiting(collection, _InBackground(reranker, self._stopped), lambda _: None, _AT_ONCE)
                merge(collection)
                return done > 0
        except (NotReady, UnknownCollection, Cancelled):
            return False
        except Exception as error:  # one collection's fault must not keep the others waiting
            if name not in self.collections.names():  # it was deleted
                return False
            if self._faults.get(name) != str(error):  # logged once
                self._faults[name] = str(error)
                log.exception("the documents of the collection %s cannot be indexed", name)
            return False

    def _reranker(self, collection: Collection) -> Reranker:
        """The served model that the collection was made with."""
        model = collection.settings.model
        for reranker in self.engine.ready_models().served.values():
            if reranker.encoder.digest == model.digest:
                return reranker
        raise CollectionError(f"its model {model.name!r} is not served: add it to QRERANK_MODELS")


@contextmanager
def _writable(name: str) -> Iterator[None]:
    try:
        yield
    except CollectionUnwritable as error:
        raise CollectionReadOnly(f"the collection {name!r} takes no writes: {error}") from error
