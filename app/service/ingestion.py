"""Collections that clients change: a document is acknowledged once it is on the disk; `indexing` lets it be found."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from app.engine.engine import Engine
from app.errors import (
    CollectionReadOnly,
    Conflict,
    DamagedCollection,
    InvalidRequest,
    ModelNotServed,
    TooLate,
    UnknownCollection,
    UnknownJob,
)
from app.identity import Identity
from app.ranking import Reranker
from app.service.collections import OpenCollections
from app.service.indexing import Indexing
from retrieval import errors
from retrieval.deadline import Deadline
from retrieval.encoder.chunks import splitter
from retrieval.encoder.protocol import Encoder
from retrieval.errors import (
    CollectionDeleted,
    CollectionError,
    CollectionTaken,
    CollectionUnwritable,
    FilterUnfinished,
)
from retrieval.index.passage_index import Model
from retrieval.store.aliases import drop, point
from retrieval.store.collection import Collection, CollectionSettings, remove
from retrieval.store.connection import is_unreadable
from retrieval.store.filters import Filter
from retrieval.store.indexer import begin_encoding
from retrieval.store.jobs import COMPACT, KEPT, WRITE, Job, Writing
from retrieval.store.placement import create
from retrieval.store.rows import Document
from retrieval.text.splitters import Chunking

log = logging.getLogger(__name__)

T = TypeVar("T")

_THREADS = 32  # most of them wait: for a disk, another writer or a filter
_UPLOADING = 2  # batches of uploads that are parsed and stored at a time
_LOOK_EVERY_S = 0.02


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


@dataclass
class Ingestion:
    """Changes collections. Its methods block; call them by `in_thread`."""

    collections: OpenCollections
    engine: Engine
    indexing: Indexing
    uploading: asyncio.Semaphore = field(default_factory=partial(asyncio.Semaphore, _UPLOADING))
    # A separate pool: waiting for a collection must not delay the parsing of bodies, or metrics.
    _threads: ThreadPoolExecutor = field(
        default_factory=partial(ThreadPoolExecutor, _THREADS, thread_name_prefix="collections")
    )

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work in a thread and return its result. Its log lines keep the request's context."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, work)

    def close(self) -> None:
        """Let the threads end, each after what it is doing."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def create(self, name: str, model: str | None, language: str, chunking: Chunking) -> tuple[Description, bool]:
        """Make a collection, unless there is one like it; its description, and whether it is new.

        Conflict if one of this name has another model, language or chunking.
        """
        encoder = self._served(model).encoder
        if self.collections.resolve(name) != name:
            raise Conflict(f"{name!r} is an alias; delete it first, or choose another name")
        try:
            split = splitter(encoder, chunking, language)
        except ValueError as error:
            raise InvalidRequest(f"chunking: {error}", ("chunking",)) from error
        settings = CollectionSettings(Model.of(encoder), language, chunking)
        is_new = self._make(name, settings, encoder)
        found = self.collections.store(name).settings  # perhaps of somebody who was faster
        is_alike = (found.model.digest, found.language) == (encoder.digest, language)
        if not is_alike or splitter(encoder, found.chunking, language).chunking != split.chunking:
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

    def encode(self, of: str | Collection, model: str) -> Job:
        """Begin to encode a collection with another served model, which serves it when all is encoded; the job."""
        encoder = self._served(model).encoder
        with self._store(of) as collection:
            try:
                key = begin_encoding(collection, encoder, Model.of(encoder))
            except ValueError as error:
                raise InvalidRequest(f"model: {error}", ("model",)) from error
            if key is None:
                raise Conflict("the collection is being encoded with another model; cancel that first")
            self.indexing.wake()
            return self._job(collection, key)

    def cancel_encoding(self, name: str) -> Description:
        """Forget the encoding with another model; the one that serves goes on."""
        with self._store(name) as collection:
            if collection.next.cancel():
                self.indexing.sweep(collection.name)
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
        """Delete a collection with its documents, readable or not; Conflict if it is an alias, or has one."""
        aliases = self.collections.aliases()
        if name in aliases:
            raise Conflict(f"{name!r} is an alias; DELETE /v1/aliases/{name} deletes it, and leaves the collection")
        if name in aliases.values():
            raise Conflict(f"an alias leads to the collection {name!r}; let it lead to another one, or delete it first")
        try:
            with self._store(name) as collection:
                remove(collection.folder, collection.remote)
        except DamagedCollection as damaged:
            folder = self.collections.folder(name)
            if self.collections.milvus or not is_unreadable(folder):  # Milvus may hold its passages
                raise
            try:
                remove(folder)
            except CollectionError:
                raise damaged from None

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
        """Write documents to the disk, as a part of a job; the ids of those that must be indexed.

        ModelNotServed if nothing here could make them searchable.
        """
        with self._store(of) as collection:
            # Without documents it only says how an upload ended, which its job must tell in any case.
            if documents and (reason := self.collections.hindrance(collection)):
                raise ModelNotServed(reason)
            changed = collection.put(documents, job)
        self.indexing.wake()
        return changed

    def delete(self, name: str, ids: Sequence[str]) -> int:
        """Delete documents; how many there were. The next search does not find them."""
        with self._store(name) as collection:
            count = collection.delete(ids)
        self.indexing.wake(collection.name)
        return count

    def delete_where(self, name: str, wanted: Filter) -> int:
        """Delete the documents that a filter leaves; how many there were. The next search does not find them."""
        with self._store(name) as collection:
            count = collection.delete_where(wanted)
        self.indexing.wake(collection.name)
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
        return self._told(collection, found)

    def _told(self, collection: Collection, job: Job) -> Job:
        """A job, and why it does not go on here: its model is not served any more, or nothing can be written."""
        if job.status != "running" or not job.waiting:
            return job
        unserved = self.collections.hindrance(collection) if job.kind == WRITE else None
        return replace(job, hindrance=unserved or self.indexing.hindrance(collection.name))

    def jobs(self, of: str | Collection, limit: int) -> list[Job]:
        """The newest jobs, the newest first."""
        with self._store(of) as collection:
            return [self._told(collection, job) for job in collection.newest_jobs(limit)]

    def compact(self, of: str | Collection) -> Job:
        """Have all segments merged into one by whoever indexes; the job."""
        with self._store(of) as collection:
            key = collection.jobs.request(COMPACT)
            self.indexing.wake()
            return self._job(collection, key)

    async def searchable(self, collection: Collection, key: str, until: Deadline) -> bool:
        """Wait until no document of a job waits; False if the deadline came first, or the model cannot encode one."""
        while (job := await self.in_thread(partial(self.job, collection, key))).waiting:
            if time.monotonic() >= until.at:
                return False
            await asyncio.sleep(_LOOK_EVERY_S)
        return not job.failed

    @contextmanager
    def _store(self, of: str | Collection) -> Iterator[Collection]:
        """A collection to read or change; what fails within the block is said to the client.

        of: its name, or what `find` gave, which must still be there.

        Raises:
            UnknownCollection: There is none, or another one has taken its place.
            CollectionReadOnly: It takes no writes.
            DamagedCollection: Its documents cannot be read.
            TooLate: A filter takes longer than it may.
        """
        name = of if isinstance(of, str) else of.name
        collection = self.collections.store(of) if isinstance(of, str) else of
        try:
            collection.check_there()
            yield collection
        except CollectionDeleted as error:
            raise UnknownCollection(f"there is no collection {name!r} any more: it was deleted meanwhile") from error
        except FilterUnfinished as error:
            raise TooLate(f"filter: {error}") from error
        except CollectionUnwritable as error:
            raise CollectionReadOnly(f"the collection {name!r} takes no writes: {error}") from error
        except CollectionError as error:
            raise self.collections.failed(name, error, collection.name) from error
