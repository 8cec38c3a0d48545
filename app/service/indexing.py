"""Waiting documents become searchable in the background, of two collections at a time in each process.

Every process may take documents; one at a time indexes a collection. A process that ends costs nothing: the next one
goes on.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from uuid import uuid4

from app.engine.engine import Engine
from app.errors import NotReady, ServiceError, UnknownCollection
from app.ranking import Reranker
from app.service.collections import OpenCollections
from retrieval import errors
from retrieval.deadline import Cancelled, Deadline
from retrieval.encoder.protocol import Tokens
from retrieval.encoder.states import Encoded, join
from retrieval.errors import CollectionDeleted, CollectionError, EncoderUnavailable, WrongModel
from retrieval.index.passage_index import Model
from retrieval.store.collection import Collection
from retrieval.store.compaction import merge, repair, sweep
from retrieval.store.generation import Encoding
from retrieval.store.indexer import encode_next, index_waiting, indexing
from retrieval.store.jobs import COMPACT

log = logging.getLogger(__name__)

_CALLER = "indexing"  # gets one caller's share of the encoder
_COLLECTIONS = 2  # that are indexed beside each other: a long document of one does not keep the others waiting
_AT_ONCE = 256  # documents that become searchable together
_IN_A_ROW = 8 * _AT_ONCE  # documents of a collection, before it is the turn of another one
_REPAIR_EVERY_S = 60.0  # looks again at segments that could not be repaired: it reads all of them
_EVERY_S = 1.0  # looks for documents that another process took, or left


class _InBackground:
    """An encoder that takes its share of the passes beside the requests."""

    def __init__(self, reranker: Reranker, stopped: Deadline) -> None:
        self._shared, self._stopped = reranker.source.shared_encoder, stopped
        encoder = reranker.encoder
        self.name, self.digest, self.max_tokens = encoder.name, encoder.digest, encoder.max_tokens
        self.tokenize, self.token_spans = encoder.tokenize, encoder.token_spans

    def encode_tokens(self, tokens: Sequence[Tokens]) -> Encoded:
        keys = [uuid4().bytes for _ in tokens]  # no text of a request has one of them
        states = self._shared.encode(keys, tokens, math.inf, self._stopped, counted=False)
        encoded = [state for state in states if state is not None]
        if len(encoded) < len(tokens):  # with all the time there is, none is left out
            raise RuntimeError("a state is missing")
        return join(encoded)


@dataclass
class Indexing:
    """The threads that make waiting documents searchable, repair segments, merge them, and encode anew."""

    collections: OpenCollections
    engine: Engine
    _wake: threading.Event = field(default_factory=threading.Event)
    _stopped: Deadline = field(default_factory=partial(Deadline, caller=_CALLER))
    _thinned: set[str] = field(default_factory=set)  # collections in which documents were deleted: there may be space
    _swept: set[str] = field(default_factory=set)  # collections in which nothing of a killed process is left
    _published: set[str] = field(default_factory=set)  # collections that other machines find under their names
    _repair_at: dict[str, float] = field(default_factory=dict)  # by collection when damage is looked at again
    _again: set[str] = field(default_factory=set)  # collections that were asked for while it was their turn
    _faults: dict[str, str] = field(default_factory=dict)  # why a collection cannot be indexed
    _hindrances: dict[str, str] = field(default_factory=dict)  # the same for clients: without bugs, which may quote one

    def wake(self, thinned: str | None = None) -> None:
        """Look for work now. thinned: a collection in which documents were deleted."""
        if thinned is not None:
            self._thinned.add(thinned)
        self._wake.set()

    def sweep(self, name: str) -> None:
        """Remove the folders that a collection does not need any more."""
        self._swept.discard(name)
        self.wake(name)

    def hindrance(self, name: str) -> str | None:
        """Return why this process could not index a collection when it was last its turn; None if it could.

        name: its own, and no alias.
        """
        return self._hindrances.get(name)

    def start(self) -> None:
        """Start to make waiting documents searchable."""
        threading.Thread(target=self._run, name=_CALLER, daemon=True).start()

    def stop(self) -> None:
        """End it. What it was doing is done again by whoever is next."""
        self._stopped.cancel()
        self._wake.set()

    def _run(self) -> None:
        turns: dict[str, Future[None]] = {}
        self.collections.sweep()
        with ThreadPoolExecutor(_COLLECTIONS, thread_name_prefix=_CALLER) as pool:
            while not self._stopped.cancelled:
                self._forget_removed()
                turns = {name: turn for name, turn in turns.items() if not turn.done()}
                for name in self._names():
                    if name in turns:
                        self._again.add(name)
                    else:
                        turns[name] = pool.submit(self._index, name)
                self._wake.wait(_EVERY_S)
                self._wake.clear()

    def _forget_removed(self) -> None:
        for name in self.collections.forget_removed():
            for names in (self._thinned, self._swept, self._published, self._again):
                names.discard(name)
            self._repair_at.pop(name, None)
            self._forget_faults(name)

    def _names(self) -> Sequence[str]:
        try:
            return self.collections.names()
        except OSError as error:  # too many open files, or a disk that is away for a while
            if self._is_new("", error):
                log.error("the collections cannot be listed: %s", error.strerror)  # noqa: TRY400 - it says all
            return []

    def _index(self, name: str) -> None:
        """Make some waiting documents of a collection searchable, and ask for another turn if there may be more."""
        self._again.discard(name)
        if self._index_safely(name) or name in self._again:
            self._wake.set()

    def _index_safely(self, name: str) -> bool:
        """Make some waiting documents of a collection searchable; whether there were some."""
        try:
            done = self._index_some(name, self.collections.store(name))
        except (NotReady, UnknownCollection, Cancelled, CollectionDeleted, errors.IndexUnavailable):  # others log that
            return False
        except (EncoderUnavailable, CollectionError, ServiceError) as error:  # the documents wait
            folder = str(self.collections.folder(name))
            self._hindrances[name] = str(error).replace(folder, name)
            # These messages hold no text of a client; a traceback in the log would come without them.
            if self.collections.folder(name).exists() and self._is_new(name, error):  # else it was deleted meanwhile
                log.warning("the documents of the collection %s cannot be indexed yet: %s", name, error)
            return False
        except Exception as error:  # one collection's fault must not keep the others waiting
            if self._stopped.cancelled:  # the process ends, and starts no more threads
                return False
            if self.collections.folder(name).exists() and self._is_new(name, error):
                log.exception("the documents of the collection %s cannot be indexed", name)
            return False
        self._forget_faults(name)
        return done

    def _forget_faults(self, name: str) -> None:
        self._faults.pop(name, None)
        self._hindrances.pop(name, None)

    def _index_some(self, name: str, collection: Collection) -> bool:
        if collection.remote and name not in self._published:  # a killed process may not have come to it
            collection.remote.publish()
            self._published.add(name)
        suspects = self.collections.damaged(name) if time.monotonic() >= self._repair_at.get(name, 0.0) else frozenset()
        is_asked = name in self._thinned or collection.is_requested(COMPACT)
        encoding = collection.encoding()
        if not (suspects or is_asked or encoding or collection.has_work()):
            return False
        following = self._encoder(encoding.model) if encoding else None
        encoder = self._encoder(collection.settings.model)
        if not (encoder or following or is_asked):
            self._check_served(collection)
        with indexing(collection) as alone:
            if not alone:
                return False
            done = self._index_alone(name, collection, encoder, suspects)
            if encoding and following and not done:  # what waits to be found comes first
                done = self._encode_some(name, collection, encoding, following)
        if not done:
            self._check_served(collection)
        return done

    def _index_alone(
        self, name: str, collection: Collection, encoder: _InBackground | None, suspects: frozenset[int]
    ) -> bool:
        """Do what needs no other model, with the collection's lock; whether documents were indexed.

        encoder: of the collection's model; None: it is not served, and what waits must go on waiting.
        """
        if name not in self._swept:
            sweep(collection)
            self._swept.add(name)
        if suspects and encoder:
            self._repair(name, collection, suspects)
        done = bool(encoder and index_waiting(collection, encoder, _ends_with(collection), _IN_A_ROW, _AT_ONCE))
        self._thinned.discard(name)
        if collection.is_requested(COMPACT):
            _compact(collection)
        merge(collection)
        if collection.trim():  # there may be more
            self._thinned.add(name)
        return done

    def _check_served(self, collection: Collection) -> None:
        """WrongModel if documents wait for a model that is not served."""
        if collection.has_work() and (reason := self.collections.hindrance(collection)):
            raise WrongModel(reason)
        encoding = collection.encoding()
        if encoding and not self._encoder(encoding.model):
            next_one = encoding.model.name
            raise WrongModel(
                f"its next model {next_one!r} is not served: add it to QRERANK_MODELS, or go on with "
                f"`qrerank index encode {collection.name} --model {next_one}`"
            )

    def _encode_some(self, name: str, collection: Collection, encoding: Encoding, encoder: _InBackground) -> bool:
        """Encode some documents with the next model; whether some are left."""
        are_left = encode_next(collection, encoder, _ends_with(collection), _AT_ONCE)
        if not are_left and collection.settings.model == encoding.model:
            log.info("the collection %s is searched with the model %s now", name, encoding.model.name)
        return are_left

    def _repair(self, name: str, collection: Collection, suspects: frozenset[int]) -> None:
        """Look at segments that may be damaged. The documents of those that are wait again."""
        self._repair_at[name] = time.monotonic() + _REPAIR_EVERY_S
        for number, fault in repair(collection, suspects).items():
            log.warning("the documents of segment %d of the collection %s are indexed again: %s", number, name, fault)
        self.collections.checked(name)

    def _is_new(self, name: str, error: Exception) -> bool:
        """Whether a fault is another one than the last; it is logged once, until it is over."""
        before, self._faults[name] = self._faults.get(name), str(error)
        return before != str(error)

    def _encoder(self, model: Model) -> _InBackground | None:
        """The encoder of a model, if it is served; NotReady while models are loaded."""
        reranker = self.engine.ready_models().by_digest(model.digest)
        return _InBackground(reranker, self._stopped) if reranker else None


def _ends_with(collection: Collection) -> Callable[[int], None]:
    """What ends the encoding of a collection that was deleted: one in its place would wait for it."""
    return lambda _: collection.check_there()


def _compact(collection: Collection) -> None:
    """Do the jobs that ask for one segment; those that came meanwhile are done, too."""
    try:
        merge(collection, all_of_it=True)
        collection.shrink()
    except CollectionError as error:
        collection.jobs.complete(COMPACT, str(error).replace(str(collection.folder), collection.name))
        raise
    if len(collection.segments.all()) <= 1:  # else a damaged one was forgotten: its documents come first
        collection.jobs.complete(COMPACT)
