"""Collections of a data folder: opened on first use, kept open, and verified on opening and periodically."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from stat import S_ISREG

from app.errors import (
    DamagedCollection,
    IndexUnavailable,
    InvalidRequest,
    Overloaded,
    ServiceError,
    UnknownCollection,
)
from app.identity import Identity
from retrieval import errors
from retrieval.errors import CollectionError, Fault, WrongModel
from retrieval.index import milvus as remote
from retrieval.index.integrity import IntegrityReport, verify
from retrieval.index.milvus_client import Milvus
from retrieval.index.passage_index import PassageIndex, Selection
from retrieval.store.aliases import aliases, target
from retrieval.store.collection import Collection
from retrieval.store.connection import FILE
from retrieval.store.filters import Filter
from retrieval.store.snapshot import Snapshot

log = logging.getLogger(__name__)

_TRIES = 10
_REPAIRING = "a segment was damaged, and its documents are being indexed again"
FolderIdentity = tuple[int, int]


@dataclass(frozen=True)
class CollectionCounts:
    """The state of an opened collection."""

    passages: int  # that are searched; 0 if it cannot be opened
    bytes: int  # on disk, at the last check
    fault: Fault | None  # why and since when it cannot be searched, or not all of it
    integrity: IntegrityReport | None  # the last one; None if it cannot be opened

    @property
    def certified(self) -> bool:
        """Whether all of it can be searched."""
        return self.fault is None


@dataclass(frozen=True)
class _Entry:
    """A requested collection at the time of its last check."""

    identity: FolderIdentity | None  # of its folder; None: nobody could tell
    collection: Collection | None = None
    revision: int = -1  # of its database
    snapshot: Snapshot | None = None  # that was checked
    passages: int = 0  # that can be found
    integrity: IntegrityReport | None = None
    fault: Fault | None = None
    files: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # sizes and times of its files


def check_visible(caller: Identity, name: str) -> None:
    """UnknownCollection for a collection that the caller may not see, exactly as if there were none.

    Call it with the name that the request used, where a collection that does not exist would be noticed: what comes
    before, such as the checks of a body, must not tell the two apart.
    """
    if not caller.may_see(name):
        raise _unknown(name)


def _unknown(name: str) -> UnknownCollection:
    return UnknownCollection(
        f"there is no collection {name!r}; PUT /v1/collections/{name} or `qrerank index build {name}` makes one"
    )


class OpenCollections:
    """Opens each collection once. What fails verification is not searched. Safe to use from several threads.

    Each `get` sees what was written since, by any process: new segments are verified before they are searched. A
    folder that was replaced is opened again, and a removed one is forgotten.

    Where there is a Milvus, a collection without a folder is searched there: another machine keeps its documents.
    """

    def __init__(self, folder: Path, milvus: Milvus | None = None) -> None:
        """Open nothing yet.

        Args:
            folder: Contains one folder per collection.
            milvus: Where the passages of some collections are, and of all new ones.
        """
        self._folder, self.milvus = folder, milvus
        self._entries: dict[str, _Entry] = {}
        self._stores: dict[str, tuple[FolderIdentity | None, Collection]] = {}
        self._lock = threading.Lock()  # held while verifying, not by `get` of an unchanged collection
        self._opening = threading.Lock()
        self._suspected: set[str] = set()  # collections whose files could not be read by a search
        self.last_fault: Fault | None = None  # of any collection

    def get(self, name: str) -> PassageIndex:
        """What can be searched of the collection with this name, which the caller has checked to be a plain name.

        A damaged segment is left out: the snapshot is not `is_whole` until its documents are indexed again.

        Raises:
            UnknownCollection: There is none.
            DamagedCollection: It failed verification, and nothing of it can be searched.
            IndexUnavailable: Milvus does not say whether there is one.
        """
        asked, name = name, self.resolve(name)
        if self.milvus and _identity(self._folder / name) is None:
            return self._elsewhere(asked, name, self.milvus)
        entry = self._entries.get(name)
        if entry is None or not self._is_current(name, entry):
            with self._lock:
                entry = self._entries.get(name)
                if entry is None or not self._is_current(name, entry):
                    entry = self._refresh(name)
        if entry.snapshot is None or (entry.fault and not entry.snapshot.live.any()):
            raise DamagedCollection(f"the collection {asked!r} is damaged: {entry.fault and entry.fault.text}")
        if entry.collection and entry.collection.remote:
            return entry.collection.remote.index()
        return entry.snapshot

    def _elsewhere(self, asked: str, name: str, milvus: Milvus) -> PassageIndex:
        """What can be searched of a collection whose documents another machine keeps. asked: as the client named it."""
        try:
            found = remote.find(milvus, name)
        except CollectionError as error:
            raise self.failed(asked, error) from error
        if found is None:
            raise _unknown(asked)
        return found

    def select(self, name: str, wanted: Filter | Sequence[str]) -> Selection:
        """What can be searched of the documents that a filter leaves, or that have some ids, as if alone.

        Raises:
            UnknownCollection: There is none.
            DamagedCollection: It failed verification.
            InvalidRequest: Another machine keeps its documents.
            Overloaded: Segments are merged faster than they can be looked at.
        """
        for _ in range(_TRIES):
            self.get(name)
            store = self.kept(name)
            if store is None:
                raise InvalidRequest(
                    f"the documents of the collection {name!r} are kept by another machine; only that one takes "
                    "`filter` and `ids`"
                )
            try:
                rows = store.rows(wanted)
            except CollectionError as error:
                raise self.failed(name, error) from error
            found = self.get(name)
            is_of_store = self.store(name) is store  # else it was replaced meanwhile, and its segments are others
            selected = found.only(rows) if is_of_store and isinstance(found, Snapshot | remote.MilvusIndex) else None
            if selected is not None:
                return selected
        raise Overloaded(f"the collection {name!r} changes faster than it can be filtered; try again")

    def kept(self, name: str) -> Collection | None:
        """The documents of a collection that was found; None if another machine keeps them."""
        return self.store(name) if _identity(self._folder / self.resolve(name)) else None

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
        asked, name = name, self.resolve(name)
        folder = self._folder / name
        identity = _identity(folder)
        if identity is None:
            if self.milvus and self._is_elsewhere(name, self.milvus):
                raise UnknownCollection(
                    f"the documents of the collection {asked!r} are kept by another machine, which shares its Milvus "
                    "with this one; this one searches them only, without filters"
                )
            raise _unknown(asked)
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

    def failed(self, name: str, error: CollectionError) -> ServiceError:
        """Record and log a failed search of an open collection; the error for its client."""
        if isinstance(error, errors.IndexUnavailable):  # the circuit breaker has logged it
            return IndexUnavailable(
                f"the collection {name!r} cannot be searched at the moment, because Milvus does not answer; try again"
            )
        text = f"{name}: {error}"
        if self.last_fault is None or self.last_fault.text != text:  # logged once, though many requests may fail
            log.error("the collection %s could not be searched: %s", name, error)
        self.last_fault = Fault.now(text)
        if not isinstance(error, WrongModel):
            self._suspected.add(name)
        return DamagedCollection(f"the collection {name!r} cannot be searched: {_with_remedy(str(error))}")

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
        return {name: _counts(entry) for name, entry in list(self._entries.items())}

    def _is_current(self, name: str, entry: _Entry) -> bool:
        """Whether nothing has changed since the last check, neither the folder nor what is in it."""
        if entry.identity != _identity(self._folder / name):
            return False
        try:
            if entry.collection and entry.collection.revision() != entry.revision:
                return False
        except CollectionError:
            return False
        if entry.fault and not (entry.snapshot and not entry.snapshot.faults):
            return entry.files == _files(self._folder / name)
        return entry.snapshot is not None and not entry.snapshot.changed()

    def _refresh(self, name: str, *, again: bool = False) -> _Entry:
        """Open a collection as far as it has changed, and verify what is new. again: verify all of it."""
        folder = self._folder / name
        identity = _identity(folder)  # read before the files, so that the next call sees later changes
        entry = self._entries.get(name)
        if entry and entry.identity != identity:
            entry = None
        if not _is_folder(folder):
            self._entries.pop(name, None)
            self._stores.pop(name, None)
            raise _unknown(name)
        try:
            collection = self._opened(name, identity)
            before = entry.snapshot if entry and not again else None
            return self._put(name, _checked(identity, collection, before))
        except CollectionError as error:
            text = str(error).replace(str(folder), folder.name)  # clients do not see the path
        except OSError as error:
            text = f"it cannot be read: {error.strerror}"
        except Exception as error:  # a damaged file must not affect other collections
            log.exception("the collection %s cannot be opened", name)
            text = f"it cannot be opened ({type(error).__name__})"
        return self._put(name, _Entry(identity, fault=Fault.now(_with_remedy(text)), files=_files(folder)))

    def _put(self, name: str, entry: _Entry) -> _Entry:
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


def _checked(identity: FolderIdentity | None, collection: Collection, before: Snapshot | None) -> _Entry:
    """An entry of what the collection holds now; what is not in the snapshot from before is verified."""
    revision = collection.revision()
    snapshot = collection.snapshot()
    known = {part.segment for part in before.parts} if before else set()
    new = [part for part in snapshot.parts if part.segment not in known or part.segment.files.changed()]
    reports = [verify(part.segment) for part in new]
    if broken := {part.number: report.fault for part, report in zip(new, reports, strict=True) if report.fault}:
        collection.reopen(broken)
        snapshot = snapshot.without(broken)
    integrity = IntegrityReport(
        min((report.at for report in reports), default=time.time()),
        sum(report.seconds for report in reports),
        sum(report.sampled for report in reports),
        min((report.recall for report in reports), default=1.0),
        next(iter(snapshot.faults.values()), None),
    )
    text = integrity.fault or (_REPAIRING if snapshot.is_repairing else None)
    fault = Fault(_with_remedy(text), integrity.at) if text else None
    passages = collection.counts().passages if collection.remote else int(snapshot.live.sum())
    return _Entry(identity, collection, revision, snapshot, passages, integrity, fault, _files(collection.folder))


def _with_remedy(text: str) -> str:
    return (
        text if "mends it" in text or "build it again" in text else f"{text}; `qrerank index verify --repair` mends it"
    )


def _is_folder(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError:  # the name is too long
        return False


def _is_own(folder: Path) -> bool:
    """Whether a folder is a collection and no alias of one."""
    return not folder.is_symlink() and _identity(folder) is not None


def _identity(folder: Path) -> FolderIdentity | None:
    """Identifies a folder, so that a replacement is noticed; two system calls, and no file is opened."""
    try:
        return folder.stat().st_ino, (folder / FILE).stat().st_ino
    except OSError:
        return None


def _files(folder: Path) -> Mapping[str, tuple[int, int]]:
    """The sizes and times of all files, which tell whether a damaged collection was mended."""
    found = {}
    with suppress(OSError):  # the folder is being removed, or no more files can be opened
        for path in folder.rglob("*"):
            stat = path.stat()
            found[str(path)] = (stat.st_size if S_ISREG(stat.st_mode) else 0, stat.st_mtime_ns)
    return found


def _counts(entry: _Entry) -> CollectionCounts:
    size = sum(size for size, _ in entry.files.values())
    if entry.snapshot is None:
        return CollectionCounts(0, size, entry.fault, None)
    fault = entry.fault
    if fault is None and (changed := entry.snapshot.changed()):
        fault = Fault.now(changed)
    return CollectionCounts(entry.passages, size, fault, entry.integrity)
