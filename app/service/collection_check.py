"""The check of a collection: what it holds, what of that is verified, and what is wrong with the rest."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG

from app.engine.engine import ModelRegistry
from app.errors import UnknownCollection
from app.identity import Identity
from retrieval.errors import Fault
from retrieval.index.integrity import IntegrityReport, verify
from retrieval.index.passage_index import Model
from retrieval.store.collection import Collection
from retrieval.store.snapshot import Snapshot, repairable

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
class Entry:
    """A requested collection at the time of its last check."""

    identity: FolderIdentity | None  # of its folder; None: nobody could tell
    collection: Collection | None = None
    revision: int = -1  # of its database
    snapshot: Snapshot | None = None  # that was checked
    passages: int = 0  # that can be found
    integrity: IntegrityReport | None = None
    fault: Fault | None = None
    files: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # sizes and times of its files


def checked(identity: FolderIdentity | None, collection: Collection, before: Snapshot | None) -> Entry:
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
    text = integrity.fault or (repairable(collection.name, _REPAIRING) if snapshot.is_repairing else None)
    fault = Fault(text, integrity.at) if text else None
    passages = collection.counts().passages if collection.remote else int(snapshot.live.sum())
    return Entry(identity, collection, revision, snapshot, passages, integrity, fault, files_of(collection.folder))


def files_of(folder: Path) -> Mapping[str, tuple[int, int]]:
    """The sizes and times of all files, which tell whether a damaged collection was mended."""
    found = {}
    with suppress(OSError):  # the folder is being removed, or no more files can be opened
        for path in folder.rglob("*"):
            stat = path.stat()
            found[str(path)] = (stat.st_size if S_ISREG(stat.st_mode) else 0, stat.st_mtime_ns)
    return found


def why_unserved(name: str, model: Model, models: ModelRegistry | None, *, is_remote: bool) -> str | None:
    """Why no served model can search a collection, and what to do; None if one can, or while models are loaded.

    Args:
        name: The collection, as whoever reads this calls it.
        model: What encoded its passages.
        models: Those that are served; None: nobody knows yet.
        is_remote: Whether its passages are in Milvus, where another model cannot take its turn.
    """
    if models is None or models.by_digest(model.digest):
        return None
    if model.name in models.served:
        of, wanted, remedy = f"another version of the model {model.name!r} than is served", model.name, ""
    else:
        of, wanted = f"the model {model.name!r}, which is not served", models.default.encoder.name
        remedy = "add it to QRERANK_MODELS, or "
    again = f"build it again with `qrerank index build {name} SOURCE --force`"
    anew = again if is_remote else f"read it anew with `qrerank index encode {name} --model {wanted}`"
    return f"the collection {name!r} was made with {of}: {remedy}{anew}"


def check_visible(caller: Identity, name: str) -> None:
    """UnknownCollection for a collection that the caller may not see, exactly as if there were none.

    Call it with the name that the request used, where a collection that does not exist would be noticed: what comes
    before, such as the checks of a body, must not tell the two apart.
    """
    if not caller.may_see(name):
        raise unknown(name)


def unknown(name: str) -> UnknownCollection:
    """The error for a name that no collection has."""
    return UnknownCollection(
        f"there is no collection {name!r}; PUT /v1/collections/{name} or `qrerank index build {name} SOURCE` makes one"
    )


def counts_of(name: str, entry: Entry, models: ModelRegistry | None) -> CollectionCounts:
    """The state of a collection that was checked: whether its files have changed since, and if its model is served."""
    size = sum(size for size, _ in entry.files.values())
    if entry.snapshot is None:
        return CollectionCounts(0, size, entry.fault, None)
    fault = entry.fault
    if fault is None and (changed := entry.snapshot.changed()):
        fault = Fault.now(changed)
    is_remote = bool(entry.collection and entry.collection.remote)
    if fault is None and (unserved := why_unserved(name, entry.snapshot.model, models, is_remote=is_remote)):
        fault = Fault.now(unserved)
    return CollectionCounts(entry.passages, size, fault, entry.integrity)
