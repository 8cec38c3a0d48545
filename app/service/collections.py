"""Collections of a data folder: opened on first use, kept open, and verified on opening and periodically."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from app.errors import DamagedCollection, ServiceError, UnknownCollection
from retrieval.errors import CollectionError, Fault
from retrieval.index.collection import SPEC, Collection
from retrieval.index.integrity import IntegrityReport, verify

log = logging.getLogger(__name__)

Stamp = tuple[tuple[str, int, int, int], ...]
Identity = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class CollectionCounts:
    """The state of an opened collection."""

    passages: int  # 0 if it cannot be opened
    bytes: int  # on disk
    fault: Fault | None  # why and since when it cannot be searched
    integrity: IntegrityReport | None  # the last one; None if it cannot be opened

    @property
    def certified(self) -> bool:
        """Whether it can be searched."""
        return self.fault is None


@dataclass(frozen=True)
class _Entry:
    """A requested collection at the time of its last check."""

    identity: Identity | None  # of its folder, at the last check
    stamp: Stamp  # of its folder, on opening
    collection: Collection | None
    integrity: IntegrityReport | None
    fault: Fault | None

    def error(self) -> str | None:
        """Why it cannot be searched; None if it can."""
        if self.fault:
            return self.fault.text
        return self.collection.files.changed() if self.collection else "it is not open"


class OpenCollections:
    """Opens each collection once. One that fails verification is not searched. Safe to use from several threads.

    Each `get` checks whether the folder has been replaced: a rebuilt collection is opened again, and a removed one is
    closed.
    """

    def __init__(self, folder: Path) -> None:
        """Open nothing yet. folder: contains one folder per collection."""
        self._folder = folder
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()  # held while opening or verifying, not by `get` of an open collection
        self.last_fault: Fault | None = None  # of any collection

    def get(self, name: str) -> Collection:
        """The collection with this name, which the caller has checked to be a plain name.

        Raises:
            UnknownCollection: There is none.
            DamagedCollection: It failed verification.
        """
        entry = self._entries.get(name)
        if entry is None or entry.error() or entry.identity != _identity(self._folder / name):
            with self._lock:
                entry = self._refresh(name)
        error = entry.error()
        if error or entry.collection is None:
            raise DamagedCollection(f"the collection {name!r} is damaged: {error}")
        return entry.collection

    def failed(self, name: str, error: CollectionError) -> DamagedCollection:
        """Record and log a failed search of an open collection; the error for its client."""
        text = f"{name}: {error}"
        if self.last_fault is None or self.last_fault.text != text:  # logged once, though many requests may fail
            log.error("the collection %s could not be searched: %s", name, error)
        self.last_fault = Fault.now(text)
        return DamagedCollection(f"the collection {name!r} cannot be searched: {_with_remedy(str(error))}")

    def verify(self) -> None:
        """Verify all requested collections, and retry those that failed to open. Blocks, but no searches of others."""
        for name in list(self._entries):
            with self._lock:
                try:
                    entry = self._refresh(name)
                except ServiceError:
                    continue
                if entry.collection is not None:
                    self._put(name, _verify_entry(entry.identity, entry.stamp, entry.collection))
                else:  # the cause may be over: too many open files, or no memory
                    self._put(name, _open_entry(self._folder / name, entry.identity, entry.stamp))

    def counts(self) -> Mapping[str, CollectionCounts]:
        """The state of each requested collection. Takes a few file system calls and no lock."""
        return {name: _counts(entry) for name, entry in list(self._entries.items())}

    def _refresh(self, name: str) -> _Entry:
        """The current entry of a collection, which is opened if it is not open or its folder has changed."""
        entry, folder = self._entries.get(name), self._folder / name
        identity = _identity(folder)  # read before the files, so that the next call sees later changes
        if entry is not None and not entry.error() and entry.identity == identity:
            return entry
        try:
            stamp = _stamp(folder) if folder.is_dir() else None
        except OSError as error:  # it is being removed, or may not be read
            if error.errno == errno.ENAMETOOLONG:
                stamp = None
            else:
                raise DamagedCollection(f"the collection {name!r} cannot be read: {error.strerror}") from error
        if stamp is None:
            self._entries.pop(name, None)
            raise UnknownCollection(f"there is no collection {name!r}; `qrerank index build` makes one")
        if entry is None or entry.stamp != stamp:
            return self._put(name, _open_entry(folder, identity, stamp))
        return self._put(name, replace(entry, identity=identity))

    def _put(self, name: str, entry: _Entry) -> _Entry:
        before = self._entries.get(name)
        if entry.fault and not (before and before.fault):
            self.last_fault = Fault(f"{name}: {entry.fault.text}", entry.fault.at)
            log.error("the collection %s is not searched: %s", name, entry.fault.text)
        elif before and before.fault and not entry.fault:
            log.warning("the collection %s is searched again", name)
        elif before and before.fault and entry.fault:
            entry = replace(entry, fault=replace(entry.fault, at=before.fault.at))  # keep the start of the fault
        self._entries[name] = entry
        return entry


def _open_entry(folder: Path, identity: Identity | None, stamp: Stamp) -> _Entry:
    try:
        return _verify_entry(identity, stamp, Collection(folder))
    except CollectionError as error:
        # Clients do not see the path.
        text = str(error).removeprefix(f"collection {folder} is damaged: ").replace(str(folder), folder.name)
    except Exception as error:  # a damaged file must not affect other collections
        log.exception("the collection %s cannot be opened", folder.name)
        text = f"it cannot be opened ({type(error).__name__}); build it again"
    return _Entry(identity, stamp, None, None, Fault.now(text))


def _verify_entry(identity: Identity | None, stamp: Stamp, collection: Collection) -> _Entry:
    integrity = verify(collection)
    fault = Fault(_with_remedy(integrity.fault), integrity.at) if integrity.fault else None
    return _Entry(identity, stamp, collection, integrity, fault)


def _with_remedy(text: str) -> str:
    return text if "build it again" in text else f"{text}; build it again"


def _identity(folder: Path) -> Identity | None:
    """Identifies a folder, so that a replacement is noticed; two system calls, and no file is opened."""
    try:
        return tuple((stat.st_ino, stat.st_mtime_ns) for stat in (folder.stat(), (folder / SPEC).stat()))
    except OSError:
        return None


def _stamp(folder: Path) -> Stamp:
    """A fingerprint that changes when the folder is replaced or one of its files is written."""
    stats = sorted((path.name, path.stat()) for path in folder.iterdir())
    return tuple((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def _counts(entry: _Entry) -> CollectionCounts:
    if entry.collection is None:
        return CollectionCounts(0, sum(size for _, _, size, _ in entry.stamp), entry.fault, None)
    files = entry.collection.files
    fault = entry.fault
    if fault is None and (changed := files.changed()):
        fault = Fault.now(changed)
    return CollectionCounts(len(entry.collection), sum(files.sizes.values()), fault, entry.integrity)
