"""The collections of a data folder, opened on first use, kept open, and checked when opened and ever again."""

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
    """What is known of a collection that was asked for."""

    passages: int  # 0 of one that cannot be opened
    bytes: int  # on disk
    fault: Fault | None  # why it is not searched, and since when
    integrity: IntegrityReport | None  # the last one; None of one that cannot be opened

    @property
    def certified(self) -> bool:
        """Whether it is searched."""
        return self.fault is None


@dataclass(frozen=True)
class _Entry:
    """A collection that was asked for, as it was when it was last looked at."""

    identity: Identity | None  # of its folder, when that was last looked at
    stamp: Stamp  # of its folder when it was opened
    collection: Collection | None
    integrity: IntegrityReport | None
    fault: Fault | None

    def wrong(self) -> str | None:
        """Why it may not be searched; None if it may."""
        if self.fault:
            return self.fault.text
        return self.collection.files.changed() if self.collection else "it is not open"


class OpenCollections:
    """Opens each collection once; safe to share between threads. One that fails its check is not searched.

    Each `get` looks whether its folder is still the one that was opened: a collection that was built again is opened
    again, and one that was removed is gone.
    """

    def __init__(self, folder: Path) -> None:
        """Look for collections in this folder, one folder each."""
        self._folder = folder
        self._open: dict[str, _Entry] = {}
        self._lock = threading.Lock()  # held while one is opened or checked; what is open is had without it
        self.last_fault: Fault | None = None  # of any of them

    def get(self, name: str) -> Collection:
        """The collection of this name (already checked to be a plain name).

        UnknownCollection if there is none, DamagedCollection if it cannot be trusted.
        """
        entry = self._open.get(name)
        if entry is None or entry.wrong() or entry.identity != _identity(self._folder / name):
            with self._lock:
                entry = self._renewed(name)
        wrong = entry.wrong()
        if wrong or entry.collection is None:
            raise DamagedCollection(f"the collection {name!r} is damaged: {wrong}")
        return entry.collection

    def failed(self, name: str, error: CollectionError) -> DamagedCollection:
        """What to tell whoever searched an open collection that could not be read to the end."""
        text = f"{name}: {error}"
        if self.last_fault is None or self.last_fault.text != text:  # many requests may meet it at once
            log.error("the collection %s could not be searched: %s", name, error)
        self.last_fault = Fault.now(text)
        return DamagedCollection(f"the collection {name!r} cannot be searched: {_with_remedy(str(error))}")

    def verify(self) -> None:
        """Check all that were asked for, and try to open those that could not be. Blocks; requests for others go on."""
        for name in list(self._open):
            with self._lock:
                try:
                    entry = self._renewed(name)
                except ServiceError:
                    continue
                if entry.collection is not None:
                    self._put(name, _checked(entry.identity, entry.stamp, entry.collection))
                else:  # it may have been for want of something that is there now: files, memory
                    self._put(name, _opened(self._folder / name, entry.identity, entry.stamp))

    def counts(self) -> Mapping[str, CollectionCounts]:
        """What is known of each collection that was asked for; costs some file system calls, and does not wait."""
        return {name: _counts(entry) for name, entry in list(self._open.items())}

    def _renewed(self, name: str) -> _Entry:
        """The collection as it is now: opened if it was not, and opened again if its folder changed."""
        entry, folder = self._open.get(name), self._folder / name
        identity = _identity(folder)  # before the files are read: what changes after this is seen by the next look
        if entry is not None and not entry.wrong() and entry.identity == identity:
            return entry
        try:
            stamp = _stamp(folder) if folder.is_dir() else None
        except OSError as error:  # it goes just now, or may not be read
            if error.errno == errno.ENAMETOOLONG:
                stamp = None
            else:
                raise DamagedCollection(f"the collection {name!r} cannot be read: {error.strerror}") from error
        if stamp is None:
            self._open.pop(name, None)
            raise UnknownCollection(f"there is no collection {name!r}; `qrerank index build` makes one")
        if entry is None or entry.stamp != stamp:
            return self._put(name, _opened(folder, identity, stamp))
        return self._put(name, replace(entry, identity=identity))

    def _put(self, name: str, entry: _Entry) -> _Entry:
        before = self._open.get(name)
        if entry.fault and not (before and before.fault):
            self.last_fault = Fault(f"{name}: {entry.fault.text}", entry.fault.at)
            log.error("the collection %s is not searched: %s", name, entry.fault.text)
        elif before and before.fault and not entry.fault:
            log.warning("the collection %s is searched again", name)
        elif before and before.fault and entry.fault:
            entry = replace(entry, fault=replace(entry.fault, at=before.fault.at))  # since when is what counts
        self._open[name] = entry
        return entry


def _opened(folder: Path, identity: Identity | None, stamp: Stamp) -> _Entry:
    try:
        return _checked(identity, stamp, Collection(folder))
    except CollectionError as error:
        # Where it lies is no client's affair.
        text = str(error).removeprefix(f"collection {folder} is damaged: ").replace(str(folder), folder.name)
    except Exception as error:  # whatever is in its files, it costs this collection and no other
        log.exception("the collection %s cannot be opened", folder.name)
        text = f"it cannot be opened ({type(error).__name__}); build it again"
    return _Entry(identity, stamp, None, None, Fault.now(text))


def _checked(identity: Identity | None, stamp: Stamp, collection: Collection) -> _Entry:
    integrity = verify(collection)
    fault = Fault(_with_remedy(integrity.fault), integrity.at) if integrity.fault else None
    return _Entry(identity, stamp, collection, integrity, fault)


def _with_remedy(text: str) -> str:
    return text if "build it again" in text else f"{text}; build it again"


def _identity(folder: Path) -> Identity | None:
    """What tells a folder from the one that takes its place; two system calls, and no file is opened."""
    try:
        return tuple((stat.st_ino, stat.st_mtime_ns) for stat in (folder.stat(), (folder / SPEC).stat()))
    except OSError:
        return None


def _stamp(folder: Path) -> Stamp:
    """What changes when a folder is replaced, or a file in it is written."""
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
