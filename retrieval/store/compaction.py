"""Compaction: small segments become large ones, and what no search needs any more is removed."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, takewhile
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import CollectionDeleted, CollectionError, CollectionUnwritable, SegmentUnreadable
from retrieval.index.integrity import verify
from retrieval.index.passage_index import Model
from retrieval.index.segment import BLOCK, Block, Segment, write
from retrieval.store.collection import SEGMENTS, Collection, check_meant
from retrieval.store.generation import Encoding
from retrieval.store.rows import SegmentRow
from retrieval.store.segment_table import NO_SEGMENT
from retrieval.store.snapshot import Part

_FANOUT = 8  # neighbours that are merged at least
_FULL = {errno.ENOSPC, errno.EDQUOT}
_LARGEST = 100_000  # passages in a merged segment
_Live = TypeVar("_Live", Part, SegmentRow)
_PASSAGES = 4096  # that are compared at once
_MOST_DEAD = 0.5  # share of a segment's passages; beyond it the segment is written anew


def merge(collection: Collection, *, all_of_it: bool = False) -> bool:
    """Merge segments that are small or mostly dead, if there are such; returns whether. The caller holds the lock.

    A segment that turns out to be damaged is forgotten instead, so that its documents wait again.

    all_of_it: merge everything into one segment.
    """
    snapshot = collection.snapshot()
    if all_of_it:
        snapshot.check_whole()
    parts = list(snapshot.parts)
    chosen = parts if all_of_it else _due(parts)
    if snapshot.faults or not chosen or (all_of_it and len(parts) == 1 and parts[0].live.all()):
        return False
    faults = {
        part.number: fault
        for part in chosen
        if (fault := verify(part.segment, whole=True).fault or _mismatch(collection, part.segment, part.number))
    }
    if faults:  # what is damaged must not be copied
        collection.reopen(faults)
        return bool(repair(collection, faults))
    collection.segments.replace(*_copied(collection, chosen, snapshot.model))
    sweep(collection)
    return True


def merge_next(collection: Collection, encoding: Encoding) -> None:
    """Merge small segments of the next generation, if there are such. What is damaged waits for the switch."""
    while rows := _due(collection.next.rows(encoding)):
        try:
            parts = [Part(row.number, Segment(collection.segment_folder(row.number)), row.live) for row in rows]
        except CollectionError:
            return
        if any(verify(part.segment, whole=True).fault for part in parts):
            return
        collection.next.replace(encoding, *_copied(collection, parts, encoding.model))
        sweep(collection)


def _copied(collection: Collection, parts: Sequence[Part], model: Model) -> tuple[dict[int, NDArray[np.int64]], int]:
    """Write the passages of segments into a new one; by segment the rows that it has, and its number."""
    rows = {part.number: np.flatnonzero(part.live) for part in parts}
    number = collection.segments.next_number()
    if any(len(each) for each in rows.values()):
        write_segment(
            collection, number, (b for part in parts for b in _blocks(part.segment, rows[part.number])), model
        )
    return rows, number


def _blocks(segment: Segment, rows: NDArray[np.int64]) -> Iterator[Block]:
    for start in range(0, len(rows), BLOCK):
        some = rows[start : start + BLOCK]
        yield Block(segment.passages(some), segment.terms(some), segment.states(some))


def write_segment(collection: Collection, number: int, blocks: Iterable[Block], model: Model | None = None) -> None:
    """Write a segment of a collection that is there: a deleted one must not come back, nor be mixed with another one.

    Args:
        collection: Its segment.
        number: Of the segment.
        blocks: Its passages, n ≥ 1 in all.
        model: What encoded them; None: the one that serves.

    Raises:
        CollectionDeleted: It was deleted.
        CollectionUnwritable: Its disk is full, or takes no writes.
    """
    folder, settings = collection.segment_folder(number), collection.settings
    collection.check_there()
    try:
        folder.parent.mkdir(exist_ok=True)  # lost, perhaps; the folder above it must be there
        write(folder, blocks, model or settings.model, settings.language, parents=False)
    except FileNotFoundError as error:
        raise CollectionDeleted(f"the collection {collection.name} was deleted while it was written to") from error
    except OSError as error:
        room = "; make room on its disk" if error.errno in _FULL else ""
        raise CollectionUnwritable(
            f"collection {collection.name} cannot be written: {error.strerror or error}{room}"
        ) from error


def _due(parts: Sequence[_Live]) -> list[_Live]:
    """Neighbours to merge: one that is mostly dead, or several of which none is more than half of all.

    So a passage is copied seldom, each time to a segment of twice the size, and few are left, whatever their sizes are.
    """
    for part in parts:
        if part.live.mean() < 1 - _MOST_DEAD:
            return [part]
    sizes = [int(part.live.sum()) for part in parts]
    for first in range(len(parts) - _FANOUT + 1):
        if count := _mergeable(sizes[first:]):
            return list(parts[first : first + count])
    return []


def _mergeable(sizes: Sequence[int]) -> int:
    """How many of these segments to merge, from the first one on; 0 for none."""
    sums = takewhile(lambda total: total <= _LARGEST, accumulate(sizes))
    runs = enumerate(zip(sums, accumulate(sizes, max), strict=False), start=1)
    return max((count for count, (total, most) in runs if count >= _FANOUT and total >= 2 * most), default=0)


def sweep(collection: Collection) -> None:
    """Remove the folders of segments that the database does not know: killed writes, and merged ones."""
    collection.check_there()
    known = {str(row.number) for row in collection.segments.all()}
    if encoding := collection.next.encoding():
        known |= {str(row.number) for row in collection.next.rows(encoding)}
    for folder in (collection.folder / SEGMENTS).glob("*"):
        if folder.name not in known and not folder.name.startswith("."):
            shutil.rmtree(folder, ignore_errors=True)


def damaged(collection: Collection, numbers: Iterable[int] | None = None) -> dict[int, str]:
    """Return the segments that cannot be used, and why. Blocks: every byte of each is read. numbers: None for all.

    One that cannot be opened for want of memory, descriptors or rights is not known to be damaged: SegmentUnreadable.

    Of a collection whose passages are in Milvus, number 0 stands for all of them.
    """
    if collection.remote:
        fault = collection.remote.fault()
        return {NO_SEGMENT: fault} if fault else {}
    folder = collection.segment_folder
    return _faults(collection, numbers, lambda row: verify(Segment(folder(row.number)), whole=True).fault)


def misplaced(collection: Collection, numbers: Iterable[int] | None = None) -> dict[int, str]:
    """Return the segments that are not those that the database means, and why: a restore may exchange their folders.

    Blocks: the passages of each are read. numbers: None for all. One that cannot be opened now: SegmentUnreadable.
    """

    def mismatch(row: SegmentRow) -> str | None:
        segment = Segment(collection.segment_folder(row.number))
        check_meant(segment, row, collection.model)
        return _mismatch(collection, segment, row.number)

    return {} if collection.remote else _faults(collection, numbers, mismatch)


def _mismatch(collection: Collection, segment: Segment, number: int) -> str | None:
    """Say that the passages of a segment are of other documents than the database says; None if they are not."""
    after = -1
    while ids := collection.segments.ids(number, after, _PASSAGES):
        passages = segment.passages(np.array(list(ids), dtype=np.int64))
        if [passage.id for passage in passages] != list(ids.values()):
            return f"segment {number} holds passages of other documents than the database says"
        after = max(ids)
    return None


def _faults(
    collection: Collection, numbers: Iterable[int] | None, look: Callable[[SegmentRow], str | None]
) -> dict[int, str]:
    """What is wrong with segments, by what looks at each. Those that are merged meanwhile have no fault."""
    faults = {}
    for row in collection.segments.all():
        if numbers is None or row.number in numbers:
            try:
                fault = look(row)
            except SegmentUnreadable:
                raise
            except CollectionError as error:
                fault = str(error)
            if fault:
                faults[row.number] = fault
    there = {row.number for row in collection.segments.all()} if faults else set[int]()
    return {number: fault for number, fault in faults.items() if number in there}


def repair(collection: Collection, numbers: Iterable[int] | None = None) -> dict[int, str]:
    """Forget damaged segments, so that their documents wait again; returns which, and why. The caller holds the lock.

    numbers: those that are looked at; None for all.
    """
    faults = misplaced(collection, numbers) | damaged(collection, numbers)
    if faults and collection.remote:
        collection.remote.renew()
    elif faults:
        collection.segments.forget(faults)
        sweep(collection)
    return faults
