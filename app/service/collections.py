"""Collections of a data folder: opened on first use, kept open, and verified on opening and periodically."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from app.engine.engine import ModelRegistry
from app.errors import (
    DamagedCollection,
    IndexUnavailable,
    InvalidRequest,
    ModelNotServed,
    Overloaded,
    ServiceError,
    TooLate,
    UnknownCollection,
)
from app.service.collection_check import (
    CollectionCounts,
    Entry,
    FolderIdentity,
    checked,
    counts_of,
    files_of,
    unknown,
    why_unserved,
)
from retrieval import errors
from retrieval.atomic_dir import sweep
from retrieval.errors import CollectionError, Fault, FilterUnfinished, SegmentDamaged
from retrieval.index import milvus as remote
from retrieval.index.milvus_client import Milvus
from retrieval.index.passage_index import PassageIndex, Selection
from retrieval.store.aliases import aliases, target
from retrieval.store.collection import Collection
from retrieval.store.connection import identity_of
from retrieval.store.filters import Filter
from retrieval.store.snapshot import Snapshot, repairable

log = logging.getLogger(__name__)

_TRIES = 10
T = TypeVar("T")
Index = TypeVar("Index", bound=PassageIndex)


@dataclass(frozen=True)
class Opened(Generic[Index]):
    """A collection that a request uses to its end, whatever is deleted and wherever its alias leads meanwhile."""

    name: str  # its own
    index: Index  # what is searched
    documents: Collection | None  # None: another machine keeps them


class OpenCollections:
    """Opens each collection once. What fails verification, or is of a model that is not served, is not searched.

    Each `get` sees what was written since, by any process: new segments are verified before they are searched. A
    folder that was replaced is opened again, and a removed one is forgotten.

    Where there is a Milvus, a collection without a folder is searched there: another machine keeps its documents.
    Safe to use from several threads.
    """

    def __init__(
        self,
        folder: Path,
        milvus: Milvus | None = None,
        models: Callable[[], ModelRegistry | None] = lambda: None,
    ) -> None:
        """Open nothing yet.

        Args:
            folder: Contains one folder per collection.
            milvus: Where the passages of some collections are, and of all new ones.
            models: Returns those that are served; None while nobody knows.
        """
        self._folder, self.milvus, self._models = folder, milvus, models
        self._entries: dict[str, Entry] = {}
        self._stores: dict[str, tuple[FolderIdentity | None, Collection]] = {}
        self._lock = threading.Lock()  # held while verifying, not by `get` of an unchanged collection
        self._opening = threading.Lock()
        self._verifier = ThreadPoolExecutor(1, thread_name_prefix="verifier")
        self._suspected: set[str] = set()  # collections whose files could not be read by a search
        self.last_fault: Fault | None = None  # of any collection

    def get(self, name: str) -> PassageIndex:
        """What can be searched of the collection with this name, which the caller has checked to be a plain name.

        A damaged segment is left out: the snapshot is not `is_whole` until its documents are indexed again.

        Raises:
            UnknownCollection: There is none.
            DamagedCollection: It failed verification, and nothing of it can be searched.
            ModelNotServed: It was made with a model that is not served.
            IndexUnavailable: Milvus does not say whether there is one.
        """
        return self._led(name, partial(self._get, name))

    def _led(self, asked: str, use: Callable[[str], T]) -> T:
        """Use the collection that a name leads to; if it is deleted while its alias is led to another one, that."""
        name = self.resolve(asked)
        try:
            return use(name)
        except UnknownCollection:
            if self.resolve(asked) == name:
                raise
        return use(self.resolve(asked))

    def _get(self, asked: str, name: str) -> PassageIndex:
        if self.milvus and identity_of(self._folder / name) is None:
            return self._elsewhere(asked, name, self.milvus)
        entry = self._entries.get(name)
        if entry is None or not self._is_current(name, entry):
            with self._lock:
                entry = self._entries.get(name)
                if entry is None or not self._is_current(name, entry):
                    # On another thread: admission learns from the processor time of this one what requests cost.
                    entry = self._verifier.submit(copy_context().run, self._refresh, name, asked).result()
        if entry.snapshot is None or (entry.fault and not entry.snapshot.live.any()):
            raise DamagedCollection(f"the collection {asked!r} is damaged: {entry.fault and entry.fault.text}")
        remote_passages = entry.collection.remote if entry.collection else None
        return self._check_served(asked, remote_passages.index() if remote_passages else entry.snapshot)

    def _elsewhere(self, asked: str, name: str, milvus: Milvus) -> PassageIndex:
        """What can be searched of a collection whose documents another machine keeps. asked: as the client named it."""
        try:
            found = remote.find(milvus, name)
        except CollectionError as error:
            raise self.failed(asked, error) from error
        if found is None:
            raise unknown(asked)
        return self._check_served(asked, found)

    def _check_served(self, name: str, index: PassageIndex) -> PassageIndex:
        """What can be searched of a collection; ModelNotServed if no served model can, which is logged and kept."""
        if reason := why_unserved(name, index.model, self._models(), is_remote=index.is_remote):
            self._note(name, reason)
            raise ModelNotServed(reason)
        return index

    def hindrance(self, collection: Collection) -> str | None:
        """Why documents that are written to a collection do not become searchable here; None if they do."""
        models, encoding = self._models(), collection.encoding()
        if models and encoding and models.by_digest(encoding.model.digest):
            return None  # they are searchable when that is done
        return why_unserved(collection.name, collection.model, models, is_remote=collection.remote is not None)

    def open(self, name: str) -> Opened[PassageIndex]:
        """All of a collection that can be searched. Raises what `get` raises."""
        return self._led(name, lambda own: Opened(own, self._get(name, own), self._kept(name, own)))

    def select(self, name: str, wanted: Filter | Sequence[str], until: float = math.inf) -> Opened[Selection]:
        """What can be searched of the documents that a filter leaves, or that have some ids, as if alone.

        Args:
            name: The collection.
            wanted: The filter, or the ids.
            until: How long the filter is waited for, in `time.monotonic()` seconds.

        Raises:
            TooLate: The filter could not be checked on all documents until then.
            UnknownCollection: There is none.
            DamagedCollection: It failed verification.
            InvalidRequest: Another machine keeps its documents.
            Overloaded: Segments are merged faster than they can be looked at.
        """
        return self._led(name, partial(self._select, name, wanted, until))

    def _select(self, asked: str, wanted: Filter | Sequence[str], until: float, name: str) -> Opened[Selection]:
        for _ in range(_TRIES):
            self._get(asked, name)
            store = self._kept(asked, name)
            if store is None:
                raise InvalidRequest(
                    f"the documents of the collection {asked!r} are kept by another machine; only that one takes "
                    "`filter` and `ids`"
                )
            try:
                rows = store.rows(wanted, until)
            except FilterUnfinished as error:
                raise TooLate(f"filter: {error}, or send a longer deadline") from error
            except CollectionError as error:
                raise self.failed(asked, error, name) from error
            found = self._get(asked, name)
            is_of_store = self._kept(asked, name) is store  # else it was replaced, and its segments are others
            selected = found.only(rows) if is_of_store and isinstance(found, Snapshot | remote.MilvusIndex) else None
            if selected is not None:
                return Opened(name, selected, store)
        raise Overloaded(f"the collection {asked!r} changes faster than it can be filtered; try again")

    def _kept(self, asked: str, name: str) -> Collection | None:
        """The documents of a collection that was found; None if another machine keeps them."""
        return self._store(asked, name) if identity_of(self._folder / name) or not self.milvus else None

    def folder(self, name: str) -> Path:
        """The folder of a collection, whether there is one or not."""
        return self._folder / name

    def resolve(self, name: str) -> str:
        """The name of the collection that a name leads to; UnknownCollection for an alias that leads astray."""
        try:
            return target(self._folder, name)
        except CollectionError as error:
            raise UnknownCollection(str(error)) from error

    def aliases(self) -> dict[str, str]:
        """The collection of each alias."""
        return aliases(self._folder)

    def sweep(self) -> None:
        """Remove what killed processes left beside the collections."""
        with suppress(OSError):  # whoever needs the folder says that it cannot be read
            sweep(self._folder)

    def forget_removed(self) -> list[str]:
        """Let go of collections whose folders are gone or replaced; returns their names.

        Their files take space and descriptors until then, and nobody may ask for them again.
        """
        with self._opening:
            opened = {name: identity for name, (identity, _) in self._stores.items()}
            checked = {name: entry.identity for name, entry in list(self._entries.items())}
            gone = [
                name for name, identity in (opened | checked).items() if identity != identity_of(self._folder / name)
            ]
            for name in gone:
                self._stores.pop(name, None)
                self._entries.pop(name, None)
                self._suspected.discard(name)
        return gone

    def names(self) -> list[str]:
        """The names of all collections on the disk."""
        try:
            return sorted(path.name for path in self._folder.iterdir() if path.name[0] != "." and _is_own(path))
        except FileNotFoundError:
            return []

    def store(self, name: str) -> Collection:
        """A collection to read and change its documents, searchable or not.

        Raises:
            UnknownCollection: There is none.
            DamagedCollection: Its documents cannot be read.
        """
        return self._led(name, partial(self._store, name))

    def _store(self, asked: str, name: str) -> Collection:
        folder = self._folder / name
        identity = identity_of(folder)
        if identity is None:
            if self.milvus and self._is_elsewhere(name, self.milvus):
                raise UnknownCollection(
                    f"the documents of the collection {asked!r} are kept by another machine, which shares its Milvus "
                    "with this one; this one searches them only, without filters"
                )
            if not _is_folder(folder):
                raise unknown(asked)
        try:
            return self._opened(name, identity)
        except (CollectionError, OSError) as error:
            reason = str(error).replace(str(folder), folder.name)
            raise DamagedCollection(f"the collection {asked!r} is damaged: {reason}") from error

    def _opened(self, name: str, identity: FolderIdentity | None) -> Collection:
        """The collection in this folder, opened once: its segments are in memory once, whoever searches or indexes."""
        with self._opening:
            known = self._stores.get(name)
            if known is None or known[0] != identity or identity is None:
                known = self._stores[name] = (identity, Collection(self._folder / name, self.milvus))
            return known[1]

    def _is_elsewhere(self, name: str, milvus: Milvus) -> bool:
        with suppress(CollectionError):
            return remote.find(milvus, name) is not None
        return False

    def failed(self, name: str, error: CollectionError, own: str | None = None) -> ServiceError:
        """Record and log a failed search of an open collection; the error for its client.

        Args:
            name: The collection, as the client named it.
            error: Why.
            own: The collection's own name, if it may be another.
        """
        if isinstance(error, errors.IndexUnavailable):  # the circuit breaker has logged it
            return IndexUnavailable(
                f"the collection {name!r} cannot be searched at the moment, because Milvus does not answer; try again"
            )
        self._note(name, str(error))
        self._suspected.add(own or name)
        told = repairable(name, str(error)) if isinstance(error, SegmentDamaged) else error
        return DamagedCollection(f"the collection {name!r} cannot be searched: {told}")

    def _note(self, name: str, reason: str) -> None:
        """Record why a collection could not be searched. It is logged once, though many requests may fail."""
        text = f"{name}: {reason}"
        if self.last_fault is None or self.last_fault.text != text:
            log.error("the collection %s could not be searched: %s", name, reason)
        self.last_fault = Fault.now(text)

    def damaged(self, name: str) -> frozenset[int]:
        """The segments that are, or may be, damaged; all of them once a search has failed. It touches no file."""
        entry = self._entries.get(name)
        if entry is None or entry.snapshot is None:
            return frozenset()
        suspected = [part.number for part in entry.snapshot.parts] if name in self._suspected else []
        return frozenset([*entry.snapshot.faults, *suspected])

    def checked(self, name: str) -> None:
        """Verify a collection again, whose damaged segments were looked at."""
        self._suspected.discard(name)
        with self._lock, suppress(UnknownCollection):
            self._refresh(name, again=True)

    def verify(self) -> None:
        """Verify all requested collections, and retry those that failed. Blocks, but no searches of others."""
        for name in list(self._entries):
            with self._lock, suppress(UnknownCollection):
                self._refresh(name, again=True)

    def counts(self) -> Mapping[str, CollectionCounts]:
        """The state of each requested collection. Takes a few file system calls and no lock."""
        models = self._models()
        return {name: counts_of(name, entry, models) for name, entry in list(self._entries.items())}

    def _is_current(self, name: str, entry: Entry) -> bool:
        """Whether nothing has changed since the last check, neither the folder nor what is in it."""
        if entry.identity != identity_of(self._folder / name):
            return False
        try:
            if entry.collection and entry.collection.revision() != entry.revision:
                return False
        except CollectionError:
            return False
        if entry.fault and not (entry.snapshot and not entry.snapshot.faults):
            return entry.files == files_of(self._folder / name)
        return entry.snapshot is not None and not entry.snapshot.changed()

    def _refresh(self, name: str, asked: str = "", *, again: bool = False) -> Entry:
        """Open a collection as far as it has changed, and verify what is new; `again`: verify all of it."""
        folder = self._folder / name
        identity = identity_of(folder)  # read before the files, so that the next call sees later changes
        entry = self._entries.get(name)
        if entry and entry.identity != identity:
            entry = None
        if not _is_folder(folder):
            self._entries.pop(name, None)
            self._stores.pop(name, None)
            raise unknown(asked or name)  # the client may not see what its alias leads to
        try:
            collection = self._opened(name, identity)
            before = entry.snapshot if entry and not again else None
            return self._put(name, checked(identity, collection, before))
        except CollectionError as error:
            text = str(error).replace(str(folder), folder.name)  # clients do not see the path
        except OSError as error:
            text = f"it cannot be read: {error.strerror}"
        except Exception as error:  # a damaged file must not affect other collections
            log.exception("the collection %s cannot be opened", name)
            text = repairable(name, f"it cannot be opened ({type(error).__name__})")
        return self._put(name, Entry(identity, fault=Fault.now(text), files=files_of(folder)))

    def _put(self, name: str, entry: Entry) -> Entry:
        before = self._entries.get(name)
        if entry.fault and not (before and before.fault):
            self.last_fault = Fault(f"{name}: {entry.fault.text}", entry.fault.at)
            log.error("the collection %s is not searched, or not all of it: %s", name, entry.fault.text)
        elif before and before.fault and not entry.fault:
            log.warning("all of the collection %s is searched again", name)
        elif before and before.fault and entry.fault:
            entry = replace(entry, fault=replace(entry.fault, at=before.fault.at))  # keep the start of the fault
        self._entries[name] = entry
        return entry


def _is_folder(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError:  # the name is too long
        return False


def _is_own(folder: Path) -> bool:
    """Whether a folder is a collection and no alias of one."""
    return not folder.is_symlink() and identity_of(folder) is not None
