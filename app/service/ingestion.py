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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from app.engine.engine import Engine
from app.errors import (
    CollectionReadOnly,
    Conflict,
    DamagedCollection,
    InvalidRequest,
    NotReady,
    UnknownCollection,
    UnknownJob,
)
from app.identity import Identity
from app.ranking import Reranker
from app.service.collections import OpenCollections
from retrieval import errors
from retrieval.deadline import Cancelled, Deadline
from retrieval.encoder.chunks import splitter
from retrieval.encoder.protocol import Encoder
from retrieval.encoder.states import Encoded, join
from retrieval.errors import (
    CollectionDeleted,
    CollectionError,
    CollectionTaken,
    CollectionUnwritable,
    EncoderUnavailable,
)
from retrieval.index.passage_index import Model
from retrieval.store.aliases import drop, point
from retrieval.store.collection import Collection, CollectionSettings, remove
from retrieval.store.filters import Filter
from retrieval.store.generation import Encoding
from retrieval.store.indexer import begin_encoding, encode_next, index_waiting, indexing, merge, repair, sweep
from retrieval.store.jobs import COMPACT, KEPT, Job, Writing
from retrieval.store.placement import create
from retrieval.store.rows import Document
from retrieval.text.splitters import Chunking

log = logging.getLogger(__name__)

_CALLER = "indexing"  # gets one caller's share of the encoder
_UPLOADING = 2  # batches of uploads that are parsed and stored at a time
_AT_ONCE = 256  # documents that become searchable together
_LOOK_EVERY_S = 0.02
_REPAIR_EVERY_S = 60.0  # looks again at segments that could not be repaired: it reads all of them
_EVERY_S = 1.0  # looks for documents that another process took, or left


@dataclass(frozen=True)
class EncodingProgress:
    """How far the encoding with another model is."""

    model: str
    done: int  # documents
    total: int


@dataclass(frozen=True)
class Description:
    """A collection as its clients see it."""

    name: str
    documents: int
    passages: int  # that are searchable
    waiting: int  # documents that are not searchable yet
    failed: int  # documents that the model cannot encode
    model: str
    language: str
    chunking: Chunking
    aliases: Sequence[str]  # other names that lead to it
    encoding: EncodingProgress | None  # with another model, which will serve when all documents are encoded


class _InBackground:
    """An encoder that takes its share of the passes beside the requests."""

    def __init__(self, reranker: Reranker, stopped: Deadline) -> None:
        self._source, self._stopped = reranker.source, stopped
        encoder = reranker.encoder
        self.name, self.digest, self.max_tokens = encoder.name, encoder.digest, encoder.max_tokens
        self.tokenize, self.token_spans = encoder.tokenize, encoder.token_spans

    def encode(self, texts: Sequence[str]) -> Encoded:
        tokens, keys = self.tokenize(texts), [_key(text) for text in texts]
        states = self._source.shared_encoder.encode(keys, tokens, math.inf, self._stopped, counted=False)
        encoded = [state for state in states if state is not None]
        if len(encoded) < len(texts):  # with all the time there is, none is left out
            raise RuntimeError("a state is missing")
        return join(encoded)


def _key(text: str) -> bytes:
    """Equal for equal texts; no key of a request's text is equal."""
    return b"indexing" + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@dataclass
class Ingestion:
    """Changes collections. Its methods block; call them in a thread."""

    collections: OpenCollections
    engine: Engine
    uploading: asyncio.Semaphore = field(default_factory=partial(asyncio.Semaphore, _UPLOADING))
    _wake: threading.Event = field(default_factory=threading.Event)
    _stopped: Deadline = field(default_factory=partial(Deadline, caller=_CALLER))
    _thinned: set[str] = field(default_factory=set)  # collections in which documents were deleted: there may be space
    _swept: set[str] = field(default_factory=set)  # collections in which nothing of a killed process is left
    _published: set[str] = field(default_factory=set)  # collections that other machines find under their names
    _repair_at: dict[str, float] = field(default_factory=dict)  # by collection when damage is looked at again
    _faults: dict[str, str] = field(default_factory=dict)  # why a collection cannot be indexed

    def create(self, name: str, model: str | None, language: str, chunking: Chunking) -> tuple[Description, bool]:
        """Make a collection, unless there is one like it; its description, and whether it is new.

        Conflict if one of this name has another model, language or chunking.
        """
        encoder = self._served(model).encoder
        if self.collections.resolve(name) != name:
            raise Conflict(f"{name!r} is an alias; delete it first, or choose another name")
        try:
            chunking = splitter(encoder, chunking, language).chunking
        except ValueError as error:
            raise InvalidRequest(f"chunking: {error}", ("chunking",)) from error
        settings = CollectionSettings(
            Model(encoder.name, encoder.digest, encoder.arithmetic, encoder.max_tokens), language, chunking
        )
        is_new = self._make(name, settings, encoder)
        try:
            found = self.collections.store(name).settings  # perhaps of somebody who was faster
        except UnknownCollection:
            raise Conflict(
                f"the folder of {name!r} holds no collection of this version; have it built again by `qrerank index "
                f"build {name} --force`, or choose another name"
            ) from None
        if (found.model.digest, found.language, found.chunking) != (encoder.digest, language, chunking):
            raise Conflict(
                f"there is a collection {name!r} of the model {found.model.name!r}, the language {found.language!r} "
                f"and the chunking {found.chunking}; delete it first, or choose another name"
            )
        return self.describe(name), is_new

    def _make(self, name: str, settings: CollectionSettings, encoder: Encoder) -> bool:
        """Make a collection; False if there is one."""
        try:
            create(self.collections.folder(name), settings, encoder, self.collections.milvus)
        except FileExistsError:
            return False
        except CollectionTaken as error:
            raise Conflict(str(error)) from error
        except errors.IndexUnavailable as error:
            raise self.collections.failed(name, error) from error
        except OSError as error:
            raise CollectionReadOnly(f"the collection {name!r} cannot be made: {error.strerror}") from error
        except CollectionUnwritable as error:
            raise CollectionReadOnly(f"the collection {name!r} cannot be made: {error}") from error
        return True

    def find(self, name: str) -> Collection:
        """A collection, for what takes a while: its alias may lead to another one meanwhile, or one take its place.

        UnknownCollection if there is none, DamagedCollection if it cannot be opened.
        """
        return self.collections.store(name)

    def describe(self, name: str, aliases: Mapping[str, str] | None = None) -> Description:
        """The description of a collection. aliases: all of them, if they are known."""
        with self._store(name) as collection:
            return self._described(name, collection, aliases)

    def _described(self, name: str, collection: Collection, aliases: Mapping[str, str] | None = None) -> Description:
        counts, settings, encoding = collection.counts(), collection.settings, collection.encoding()
        aliases = self.collections.aliases() if aliases is None else aliases
        return Description(
            name,
            counts.documents,
            counts.passages,
            counts.waiting,
            counts.failed,
            settings.model.name,
            settings.language,
            settings.chunking,
            [alias for alias, to in aliases.items() if to == collection.name],
            EncodingProgress(encoding.model.name, encoding.done, encoding.total) if encoding else None,
        )

    def encode(self, name: str, model: str) -> Job:
        """Begin to encode a collection with another served model, which serves it when all is encoded; the job."""
        encoder = self._served(model).encoder
        with self._store(name) as collection:
            try:
                key = begin_encoding(
                    collection, encoder, Model(encoder.name, encoder.digest, encoder.arithmetic, encoder.max_tokens)
                )
            except ValueError as error:
                raise InvalidRequest(f"model: {error}", ("model",)) from error
            if key is None:
                raise Conflict(f"the collection {name!r} is being encoded with another model; cancel that first")
            self._wake.set()
            return self._job(collection, key)

    def cancel_encoding(self, name: str) -> Description:
        """Forget the encoding with another model; the one that serves goes on."""
        with self._store(name) as collection:
            if collection.next.cancel():
                self._thinned.add(collection.name)  # there are folders to remove
                self._swept.discard(collection.name)
            self._wake.set()
            return self._described(name, collection)

    def _served(self, model: str | None) -> Reranker:
        """The served model of a name; None: the default one."""
        models = self.engine.ready_models()
        if model is not None and model not in models.names():
            raise InvalidRequest(
                f"model: none of this name is served; there are {', '.join(models.names())}", ("model",)
            )
        return models.choose(model).reranker

    def describe_all(self, caller: Identity) -> list[Description]:
        """The descriptions of all collections that the caller may see and that can be opened, by name."""
        found, aliases = [], self.collections.aliases()
        for name in filter(caller.may_see, self.collections.names()):
            try:
                found.append(self.describe(name, aliases))
            except (UnknownCollection, DamagedCollection):  # deleted meanwhile; its own address says what is damaged
                continue
        return found

    def delete_collection(self, name: str) -> None:
        """Delete a collection with its documents; Conflict if it is an alias, or has one."""
        aliases = self.collections.aliases()
        if name in aliases:
            raise Conflict(f"{name!r} is an alias; DELETE /v1/aliases/{name} deletes it, and leaves the collection")
        if name in aliases.values():
            raise Conflict(f"an alias leads to the collection {name!r}; let it lead to another one, or delete it first")
        with self._store(name) as collection:
            remove(collection.folder, collection.remote)

    def aliases(self) -> dict[str, str]:
        """The collection of each alias."""
        return self.collections.aliases()

    def set_alias(self, alias: str, name: str) -> None:
        """Let an alias lead to a collection; Conflict if that is an alias, or if a collection has the alias' name."""
        self.collections.store(name)
        folder = self.collections.folder(name).parent
        try:
            point(folder, alias, name)
        except CollectionError as error:
            raise Conflict(str(error)) from error
        except OSError as error:
            raise CollectionReadOnly(f"the alias {alias!r} cannot be set: {error.strerror}") from error

    def delete_alias(self, alias: str) -> bool:
        """Delete an alias; whether there was one."""
        try:
            return drop(self.collections.folder(alias).parent, alias)
        except OSError as error:
            raise CollectionReadOnly(f"the alias {alias!r} cannot be deleted: {error.strerror}") from error

    def put(self, of: str | Collection, documents: Sequence[Document], job: Writing) -> list[str]:
        """Write documents to the disk, as a part of a job; the ids of those whose content is new or changed."""
        with self._store(of) as collection:
            changed = collection.put(documents, job)
        self._wake.set()
        return changed

    def delete(self, name: str, ids: Sequence[str]) -> int:
        """Delete documents; how many there were. The next search does not find them."""
        with self._store(name) as collection:
            count = collection.delete(ids)
        self._thinned.add(collection.name)
        self._wake.set()
        return count

    def delete_where(self, name: str, wanted: Filter) -> int:
        """Delete the documents that a filter leaves; how many there were. The next search does not find them."""
        with self._store(name) as collection:
            count = collection.delete_where(wanted)
        self._thinned.add(collection.name)
        self._wake.set()
        return count

    def get(self, name: str, ids: Sequence[str]) -> list[Document]:
        """The documents with these ids, in their order; those that are not there are left out."""
        with self._store(name) as collection:
            return collection.get(ids)

    def page(self, name: str, after: int, limit: int, wanted: Filter | None = None) -> list[tuple[int, Document]]:
        """Up to `limit` documents with numbers above `after`, with their numbers. See `Collection.page`."""
        with self._store(name) as collection:
            return collection.page(after, limit, wanted)

    def job(self, of: str | Collection, key: str) -> Job:
        """A job, and how far it is; UnknownJob if there is none."""
        with self._store(of) as collection:
            return self._job(collection, key)

    def _job(self, collection: Collection, key: str) -> Job:
        found = collection.job(key)
        if found is None:
            raise UnknownJob(
                f"the collection has no job of this id, or it was one of more than {KEPT} and is forgotten"
            )
        return found

    def jobs(self, name: str, limit: int) -> list[Job]:
        """The newest jobs, the newest first."""
        with self._store(name) as collection:
            return collection.newest_jobs(limit)

    def compact(self, name: str) -> Job:
        """Have all segments merged into one by whoever indexes; the job."""
        with self._store(name) as collection:
            key = collection.jobs.request(COMPACT)
            self._wake.set()
            return self._job(collection, key)

    async def searchable(self, collection: Collection, key: str, until: Deadline) -> bool:
        """Wait until the documents of a job are searchable; False if the deadline came first."""
        while (await asyncio.to_thread(self.job, collection, key)).waiting:
            if time.monotonic() >= until.at:
                return False
            await asyncio.sleep(_LOOK_EVERY_S)
        return True

    @contextmanager
    def _store(self, of: str | Collection) -> Iterator[Collection]:
        """A collection to read or change; what fails within the block is said to the client.

        of: its name, or what `find` gave, which must still be there.

        Raises:
            UnknownCollection: There is none, or another one has taken its place.
            CollectionReadOnly: It takes no writes.
            DamagedCollection: Its documents cannot be read.
        """
        name = of if isinstance(of, str) else of.name
        collection = self.collections.store(of) if isinstance(of, str) else of
        try:
            collection.check_there()
            yield collection
        except CollectionDeleted as error:
            raise UnknownCollection(f"there is no collection {name!r} any more: it was deleted meanwhile") from error
        except CollectionUnwritable as error:
            raise CollectionReadOnly(f"the collection {name!r} takes no writes: {error}") from error
        except CollectionError as error:
            raise self.collections.failed(name, error, collection.name) from error

    def start(self) -> None:
        """Start the thread that makes waiting documents searchable."""
        threading.Thread(target=self._run, name=_CALLER, daemon=True).start()

    def stop(self) -> None:
        """End the thread. What it was doing is done again by whoever is next."""
        self._stopped.cancel()
        self._wake.set()

    def _run(self) -> None:
        while not self._stopped.cancelled:
            try:
                names = self.collections.names()
            except OSError as error:  # too many open files, or a disk that is away for a while
                names = []
                if self._is_new("", error):
                    log.error("the collections cannot be listed: %s", error.strerror)  # noqa: TRY400 - it says all
            found = [self._index(name) for name in names]
            if not any(found):
                self._wake.wait(_EVERY_S)
                self._wake.clear()

    def _index(self, name: str) -> bool:
        """Make some waiting documents of a collection searchable; whether there were some."""
        try:
            done = self._index_some(name, self.collections.store(name))
        except (NotReady, UnknownCollection, Cancelled, CollectionDeleted, errors.IndexUnavailable):  # others log that
            return False
        except EncoderUnavailable as error:  # the documents wait
            if self._is_new(name, error):
                log.warning("the documents of the collection %s cannot be indexed yet: %s", name, error)
            return False
        except Exception as error:  # one collection's fault must not keep the others waiting
            if self.collections.folder(name).exists() and self._is_new(name, error):  # else it was deleted meanwhile
                log.exception("the documents of the collection %s cannot be indexed", name)
            return False
        self._faults.pop(name, None)
        return done

    def _index_some(self, name: str, collection: Collection) -> bool:
        if collection.remote and name not in self._published:  # a killed process may not have come to it
            collection.remote.publish()
            self._published.add(name)
        suspects = self.collections.damaged(name) if time.monotonic() >= self._repair_at.get(name, 0.0) else frozenset()
        is_asked = name in self._thinned or collection.is_requested(COMPACT)
        encoding = collection.encoding()
        if not (suspects or is_asked or encoding or collection.has_work()):
            return False
        encoder = _InBackground(self._reranker(collection.settings.model), self._stopped)
        with indexing(collection) as alone:
            if not alone:
                return False
            if name not in self._swept:
                sweep(collection)
                self._swept.add(name)
            if suspects:
                self._repair(name, collection, suspects)
            done = index_waiting(collection, encoder, lambda _: None, _AT_ONCE) > 0
            self._thinned.discard(name)
            if collection.is_requested(COMPACT):
                _compact(collection)
            merge(collection)
            if collection.trim():  # there may be more
                self._thinned.add(name)
            if encoding and not done:  # what waits to be found comes first
                done = self._encode_some(name, collection, encoding)
        return done

    def _encode_some(self, name: str, collection: Collection, encoding: Encoding) -> bool:
        """Encode some documents with the next model; whether some are left."""
        encoder = _InBackground(self._reranker(encoding.model), self._stopped)
        are_left = encode_next(collection, encoder, lambda _: None, _AT_ONCE)
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

    def _reranker(self, model: Model) -> Reranker:
        """The served model that is meant."""
        reranker = self.engine.ready_models().by_digest(model.digest)
        if reranker is None:
            raise CollectionError(f"its model {model.name!r} is not served: add it to QRERANK_MODELS")
        return reranker


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
