"""A collection: documents in a database, and the segments that make them searchable.

A folder `documents.sqlite`, `segments/1`, `segments/2`, … Documents are never lost: a segment that is missing or
damaged is derived from them again. Readers search a snapshot, so they wait for no writer.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from retrieval.atomic_dir import remove_folder, whole_folder
from retrieval.errors import (
    CollectionDeleted,
    CollectionError,
    CollectionUnwritable,
    SegmentDamaged,
    SegmentUnreadable,
)
from retrieval.index.integrity import verify
from retrieval.index.milvus_client import Milvus
from retrieval.index.passage_index import Model, PassageIndex, Selection
from retrieval.index.segment import Segment
from retrieval.store.aliases import check_deletable
from retrieval.store.connection import Connection, identity_of
from retrieval.store.documents import Documents
from retrieval.store.filters import Filter, with_ids
from retrieval.store.generation import Encoding, NextGeneration
from retrieval.store.jobs import ENCODE, Job, Jobs, Writing
from retrieval.store.ledger import Ledger
from retrieval.store.remote import Place, Remote
from retrieval.store.rows import Counts, Document, SegmentRow
from retrieval.store.segment_table import SegmentTable
from retrieval.store.selection import Rows, Selections
from retrieval.store.snapshot import Part, Snapshot, repairable
from retrieval.text.languages import AUTO
from retrieval.text.splitters import WHOLE, Chunking

log = logging.getLogger(__name__)

SEGMENTS = "segments"
_TRIES = 10


@dataclass(frozen=True)
class CollectionSettings:
    """What is decided once, when a collection is made."""

    model: Model
    language: str = AUTO  # of its documents: a code, "none" or "auto"
    chunking: Chunking = WHOLE  # without a size where none was chosen: as much as its model reads
    remote: Place | None = None  # where in Milvus its passages are; None: they are in segments


class Collection:
    """An open collection. Thread-safe; several processes may have it open."""

    def __init__(self, folder: Path, milvus: Milvus | None = None) -> None:
        """Open a folder that `create` made.

        Args:
            folder: The folder.
            milvus: Where passages are that are not in segments.

        Raises:
            CollectionError: It is missing, damaged or of another version, or its passages are in Milvus and none is
                given.
        """
        self.folder, self.name = folder, folder.name
        self._identity = identity_of(folder)
        self._writer, self._reader = Connection(folder), Connection(folder)  # so that reads wait for no write
        if self._writer.network:
            log.info("collection %s is on a network file system (%s)", self.name, self._writer.network)
        self.documents, self._reading = Documents(self._writer), Documents(self._reader)
        self.segments, self.jobs = SegmentTable(self._writer), Jobs(self._writer)
        self._followed = Jobs(self._reader)
        self.next, self._reading_next = NextGeneration(self._writer), NextGeneration(self._reader)
        self._settings = self._reader.revision(), self._read_settings()
        self._lock = threading.Lock()  # held while a snapshot is made
        self._suspected: set[int] = set()  # segments that were damaged when they were last looked at
        self._revision: int | None = None
        self._snapshot = Snapshot(self.name, self.settings.model, self.settings.language, [])
        # Nothing in it refers to it: a deleted one's files are closed when its last user ends, and not later.
        self._selections = Selections(folder, self._reader.revision)
        self.remote = self._remote(milvus)

    def check_there(self) -> None:
        """Raise CollectionDeleted if its folder is gone, or another collection is in its place."""
        if identity_of(self.folder) != self._identity:
            raise CollectionDeleted(f"the collection {self.name} was deleted")

    @property
    def settings(self) -> CollectionSettings:
        """What was decided when it was made. Its model changes where another generation of segments serves."""
        revision = self._reader.revision()
        if self._settings[0] != revision:
            self._settings = revision, self._read_settings()
        return self._settings[1]

    def _read_settings(self) -> CollectionSettings:
        try:
            about = self._reader.about()
            return CollectionSettings(
                Model(**about["model"]),
                about["language"],
                Chunking(**about.get("chunking", {})),  # older collections have whole documents
                Place.of(about.get("remote")),
            )
        except (KeyError, TypeError) as error:
            raise CollectionError(
                f"collection {self.name} is damaged: it says {error!r}; restore its folder from a backup"
            ) from error

    def encoding(self) -> Encoding | None:
        """Return how far the encoding with another model is; None if there is none."""
        return self._reading_next.encoding()

    def _remote(self, milvus: Milvus | None) -> Remote | None:
        place = self.settings.remote
        if place is None:
            return None
        if milvus is None:
            raise CollectionError(f"the passages of the collection {self.name} are in Milvus: set QRERANK_INDEX__URL")
        about = place.about(self.settings.model, self.settings.language)
        return Remote(self.folder, self._writer, milvus, place.collection, about)

    @staticmethod
    def create(folder: Path, settings: CollectionSettings) -> None:
        """Make an empty collection, atomically; FileExistsError if the folder exists."""
        if folder.exists():
            raise FileExistsError(folder)
        with new_folder(folder) as partial:
            create_in(partial, settings)

    def close(self) -> None:
        """Close the database. Snapshots stay usable."""
        self._writer.close()
        self._reader.close()
        self._selections.close()

    def put(self, documents: Iterable[Document], job: Writing | None = None) -> list[str]:
        """Insert or replace documents by id; returns the ids of those that must be indexed. See `Documents.put`."""
        return self.documents.put(documents, job)

    def delete(self, ids: Iterable[str]) -> int:
        """Delete documents; returns how many there were. They are not found any more when this returns."""
        delete = partial(self.documents.delete, ids)
        return self.remote.delete(delete) if self.remote else delete()

    def delete_where(self, wanted: Filter) -> int:
        """Delete the documents that a filter leaves; returns how many there were. FilterUnfinished: see `page`."""
        where = wanted.where()
        # Others write while all documents are read, so those that are found are checked again when they are deleted.
        found = self._selections.read(lambda connection, until: Documents(connection).numbers(where, until))
        delete = partial(self.documents.delete_where, where.among(found))
        return self.remote.delete(delete) if self.remote else delete()

    def get(self, ids: Sequence[str]) -> list[Document]:
        """Return the documents with these ids, in their order; those that are not there are left out."""
        return self._reading.get(ids)

    def metadata(self, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Return the metadata of the documents with these ids that are there."""
        return self._reading.metadata(ids)

    def page(self, after: int, limit: int, wanted: Filter | None = None) -> list[tuple[int, Document]]:
        """Return up to `limit` documents with numbers above `after`, with their numbers; only those of a filter.

        Fewer where their texts are long, see `Documents.page`; none only at the end. FilterUnfinished if a filter takes
        longer than a minute.
        """
        if wanted is None:
            return self._reading.page(after, limit)
        where = wanted.where()
        return self._selections.read(
            lambda connection, until: Documents(connection).page(after, limit, where, until=until)
        )

    def are_waiting(self) -> bool:
        """Return whether any document is not searchable yet."""
        return self._reading.are_waiting()

    def job(self, key: str) -> Job | None:
        """Return a job, and how far it is; None if there is none."""
        encoding = self.encoding()  # first: a job that is running after it was running then
        found = self._followed.get(key)
        return found and _at(found, encoding)

    def newest_jobs(self, limit: int) -> list[Job]:
        """Return the newest jobs, the newest first."""
        encoding = self.encoding()
        return [_at(job, encoding) for job in self._followed.newest(limit)]

    def is_requested(self, kind: str) -> bool:
        """Return whether the indexer has a job of this kind to do."""
        return self._followed.is_requested(kind)

    def has_work(self) -> bool:
        """Return whether there is something to index, or to delete where the passages are."""
        return self.are_waiting() or bool(self.remote and self.remote.is_behind())

    def counts(self) -> Counts:
        """Count documents and passages."""
        return self._reading.counts()

    def revision(self) -> int:
        """Return a number that changes whenever something was written, by any process. It takes microseconds."""
        return self._reader.revision()

    def searchable(self) -> PassageIndex:
        """Return what one request can search now."""
        return self.remote.index() if self.remote else self.snapshot()

    def snapshot(self) -> Snapshot:
        """Return what can be searched now. A write of any process is seen by the next call.

        Segments that cannot be opened are in its `faults`; they are tried again by the next call.
        """
        if self._reader.revision() == self._revision and not self._snapshot.faults:
            return self._snapshot
        with self._lock:
            revision = self._reader.revision()
            if revision != self._revision or self._snapshot.faults:
                self._snapshot = self._open({part.number: part.segment for part in self._snapshot.parts})
                self._revision = revision
            return self._snapshot

    def rows(self, wanted: Filter | Sequence[str], until: float = math.inf) -> Rows:
        """Return the rows of the passages of the documents that a filter leaves, or that have some ids, by segment.

        FilterUnfinished if a filter's are not known by `until`, in `time.monotonic()` seconds.
        """
        if isinstance(wanted, Sequence):
            return SegmentTable(self._reader).rows(with_ids(wanted))
        return self._selections.rows(wanted.where(), until)

    def select(self, wanted: Filter | Sequence[str]) -> Selection:
        """Return what can be searched now of some documents, as if there were no others; see `rows`."""
        if self.remote:
            return self.remote.index().only(self.rows(wanted))
        for _ in range(_TRIES):
            selected = self.snapshot().only(self.rows(wanted))
            if selected is not None:
                return selected
        raise CollectionError(f"collection {self.name} is merged faster than it can be looked at; try again")

    def reopen(self, faults: Mapping[int, str]) -> None:
        """Open segments anew by the next snapshot: their files are damaged, and may be mended."""
        with self._lock:
            self._snapshot = self._snapshot.without(faults)
            self._suspected |= faults.keys()

    def _open(self, known: dict[int, Segment]) -> Snapshot:
        """A snapshot of what the database says now, with the segments that are open already."""
        while True:
            with self._reader.reading():
                rows = SegmentTable(self._reader).all()
                repairing = SegmentTable(self._reader).is_repairing()
                settings = self._read_settings()
            faults = dict[int, str]()
            for row in (row for row in rows if row.number not in known):
                try:
                    known[row.number] = self._segment(row, settings.model)
                except SegmentUnreadable as error:  # which says what helps
                    faults[row.number] = str(error)
                except CollectionError as error:
                    faults[row.number] = repairable(self.name, str(error))
            numbers = {row.number for row in SegmentTable(self._reader).all()} if faults else set[int]()
            if numbers >= faults.keys():  # else they were merged, and removed before they could be opened
                break
        parts = [Part(row.number, known[row.number], row.live) for row in rows if row.number not in faults]
        return Snapshot(self.name, settings.model, settings.language, parts, faults, is_repairing=repairing)

    def _segment(self, row: SegmentRow, model: Model) -> Segment:
        """Open a segment; one that was damaged must be mended."""
        segment = Segment(self.segment_folder(row.number))
        check_meant(segment, row, model)
        if row.number in self._suspected and (fault := verify(segment).fault):
            raise CollectionError(fault)
        self._suspected.discard(row.number)
        return segment

    @property
    def model(self) -> Model:
        """What encodes its documents."""
        return self.settings.model

    def segment_folder(self, number: int) -> Path:
        """Return the folder of a segment."""
        return self.folder / SEGMENTS / str(number)

    def fault(self) -> str | None:
        """Return why its documents are not those that were written, and what to do, or None. All of them are read.

        Segments are derived from the documents: `compaction.damaged` compares these with their own checksums.
        """
        try:
            fault = self._reading.fault()
        except CollectionUnwritable:  # nothing is known of it
            raise
        except CollectionError as error:
            return str(error)
        return f"collection {self.name} is damaged: {fault}; restore its folder from a backup" if fault else None

    def shrink(self) -> None:
        """Give the space of deleted documents in the database back to the disk."""
        self._writer.shrink()

    def trim(self) -> bool:
        """Give some space of deleted documents back to the disk, if there is much; whether there was."""
        return self._writer.trim()

    def journal(self) -> str:
        """Return what makes its transactions atomic, and where."""
        name = "write-ahead log" if self._reader.journal() == "wal" else "rollback journal"
        return f"{name}, on a network file system ({self._reader.network})" if self._reader.network else name

    def bytes(self) -> int:
        """Return the size on disk. Files that another process removes meanwhile are passed over."""
        total = 0
        for folder, _, names in os.walk(self.folder):
            for name in names:
                with suppress(FileNotFoundError):
                    total += Path(folder, name).stat().st_size
        return total


@contextmanager
def new_folder(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder for a collection, which atomically becomes `folder` when the block succeeds.

    replace: take the place of what is there; without it FileExistsError if one was made meanwhile, which is kept.
    """
    with whole_folder(folder, replace=replace) as partial:
        yield partial
        made = identity_of(partial)
    if not replace and identity_of(folder) != made:
        raise FileExistsError(folder)


def check_meant(segment: Segment, row: SegmentRow, model: Model) -> None:
    """SegmentDamaged if a folder holds another segment than the database means, as far as its description tells."""
    if len(segment) != len(row.live):
        raise SegmentDamaged(f"segment {row.number} has {len(segment)} passages, and the database says {len(row.live)}")
    if segment.model.digest != model.digest:
        raise SegmentDamaged(f"segment {row.number} was made with another model than the database says")


def create_in(folder: Path, settings: CollectionSettings) -> None:
    """Make an empty collection in an empty folder."""
    (folder / SEGMENTS).mkdir()
    connection = Connection(folder, create=True)
    about = {
        "model": asdict(settings.model),
        "language": settings.language,
        "chunking": asdict(settings.chunking),
    }
    if settings.remote:
        about["remote"] = asdict(settings.remote)
        Ledger.create(connection)
    connection.set_about(about)
    connection.close()


def remove(folder: Path, remote: Remote | None = None) -> None:
    """Delete a collection. It is gone at once, and its files soon after.

    Args:
        folder: The folder.
        remote: Where its passages are, if not there.

    Raises:
        CollectionError: There is none, or an alias leads to it or is meant.
    """
    check_deletable(folder)
    if remote:  # first: no machine must find what has no documents
        remote.drop()
    try:
        remove_folder(folder)
    except OSError as error:
        raise CollectionError(
            f"there is no collection at {folder}, or it cannot be deleted: {error.strerror}"
        ) from error


def _at(job: Job, encoding: Encoding | None) -> Job:
    """A job with how far the encoding is, if that is what it is about."""
    if encoding is None or job.kind != ENCODE or job.is_complete:
        return job
    return replace(job, stored=encoding.total, waiting=encoding.total - encoding.done)
