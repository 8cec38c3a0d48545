"""Making documents searchable: waiting documents become segments, and small segments become large ones.

One process at a time does it for a collection, whoever takes the lock; the system frees it when a process ends. What a
killed process left unfinished is not known to the database, and is done again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, islice, pairwise, takewhile
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from retrieval.atomic_dir import whole_folder
from retrieval.encoder.chunks import Reads, splitter
from retrieval.encoder.protocol import Encoder
from retrieval.encoder.states import Encoded
from retrieval.errors import (
    CollectionDeleted,
    CollectionError,
    CollectionUnwritable,
    EncodingError,
    PassageTooLarge,
    SegmentUnreadable,
    WrongModel,
)
from retrieval.index.integrity import verify
from retrieval.index.milvus_client import Milvus
from retrieval.index.passage_index import Model, check_encoder
from retrieval.index.segment import BLOCK, Segment, write
from retrieval.store.collection import SEGMENTS, Collection, CollectionSettings, create_in
from retrieval.store.generation import Encoding
from retrieval.store.jobs import ENCODE
from retrieval.store.placement import placed, publish
from retrieval.store.rows import Document, SegmentRow, Waiting
from retrieval.store.segment_table import NO_SEGMENT
from retrieval.store.snapshot import Part
from retrieval.text.bm25 import Terms
from retrieval.text.languages import AUTO
from retrieval.text.passages import Passage
from retrieval.text.splitters import WHOLE, Chunking

Item = TypeVar("Item")

Counting = Callable[[int, int], None]  # done, of how many

_LOCK = "indexer.lock"
PUT_AT_ONCE = 1000  # documents in one transaction
DOCUMENTS = 2048  # that become one segment; a few hundred would make too many files, more would be found later
_FANOUT = 8  # neighbours that are merged at least
_LARGEST = 100_000  # passages in a merged segment
_Live = TypeVar("_Live", Part, SegmentRow)
_MOST_DEAD = 0.5  # share of a segment's passages; beyond it the segment is written anew


def build(
    folder: Path,
    passages: Iterable[Passage | Document],
    encoder: Encoder,
    progress: Counting,
    language: str = AUTO,
    milvus: Milvus | None = None,
    chunking: Chunking = WHOLE,
) -> None:
    """Make a collection of passages, which atomically replaces an old one; a kill leaves what was there.

    Args:
        folder: The folder of the collection.
        passages: At least one; the last one of an id counts.
        encoder: Encodes them.
        progress: Called with the number of passages that are indexed and the total.
        language: Of the passages: a code, "none" or "auto".
        milvus: Where passages are kept; None: in segments.
        chunking: How long ones are split.

    Raises:
        CollectionError: There are no passages, or the collection cannot be written.
        ValueError: A chunking that is not possible with this encoder.
    """
    model = Model(encoder.name, encoder.digest, encoder.arithmetic, encoder.max_tokens)
    chunking = splitter(encoder, chunking, language).chunking
    with (
        placed(folder.name, CollectionSettings(model, language, chunking), encoder, milvus) as settings,
        whole_folder(folder, replace=True) as partial,
    ):
        create_in(partial, settings)
        collection = Collection(partial, milvus)
        try:
            for some in batches(passages, PUT_AT_ONCE):
                collection.put(
                    each if isinstance(each, Document) else Document(each.id, each.text, each.title) for each in some
                )
            if not collection.counts().documents:
                raise CollectionError("there are no passages to build a collection from")
            index_all(collection, encoder, progress)
        finally:
            collection.close()
    publish(folder, milvus)


def index_all(collection: Collection, encoder: Encodes, progress: Counting) -> None:
    """Make all waiting documents searchable, merge small segments, and give much empty space back to the disk.

    The caller holds the lock, or is alone.

    progress: called with the number of documents that are indexed and of all that waited.
    """
    total, done = collection.counts().waiting, 0
    progress(0, total)

    def count(documents: int) -> None:
        nonlocal done
        done += documents
        progress(done, max(total, done))

    while index_waiting(collection, encoder, count):
        while merge(collection):
            pass
    while collection.trim():
        pass


@contextmanager
def indexing(collection: Collection) -> Iterator[bool]:
    """Hold the lock of the collection's indexer; False if another process or thread holds it."""
    try:
        handle = os.open(collection.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise CollectionUnwritable(f"collection {collection.name} cannot be written: {error.strerror}") from error
    try:
        collection.check_there()  # else the lock may be that of another one in its place
        yield _locked(collection, handle)
    finally:
        os.close(handle)


def _locked(collection: Collection, handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # a network file system without locks
        raise CollectionUnwritable(f"collection {collection.name} cannot be locked: {error.strerror}") from error
    return True


class Encodes(Reads, Protocol):
    """What the indexer needs of an encoder."""

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def digest(self) -> str:
        """Identifies the weights."""

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Return the states of n ≥ 1 documents, in order."""


def index_waiting(
    collection: Collection, encoder: Encodes, progress: Callable[[int], None], most: int = DOCUMENTS
) -> int:
    """Make up to `most` waiting documents searchable; returns how many no longer wait. The caller holds the lock.

    A document that the model cannot encode is set aside: it is kept, and not searchable.

    progress: called with the number of documents that were encoded since the last call.
    """
    check_encoder(collection, encoder)
    if collection.remote:
        collection.remote.flush()
        most = min(most, BLOCK)  # they are in memory with their states
    waiting = collection.documents.waiting(most)
    if not waiting:
        return 0
    try:
        _index(collection, encoder, waiting, progress)
    except (EncodingError, PassageTooLarge) as error:
        if len(waiting) > 1:  # fewer at once, until the one is found
            return index_waiting(collection, encoder, progress, len(waiting) // 2)
        collection.documents.set_aside(waiting[0], str(error))
    return len(waiting)


def _index(
    collection: Collection, encoder: Encodes, waiting: Sequence[Waiting], progress: Callable[[int], None]
) -> None:
    passages, owners, terms, states = _encoded(collection, encoder, waiting, progress)
    if collection.remote:
        collection.remote.write(waiting, owners, passages, terms, states)
        return
    number = collection.segments.next_number()
    _write(collection, number, passages, terms, states)
    collection.segments.add(waiting, owners, number)


def _encoded(
    collection: Collection, encoder: Encodes, waiting: Sequence[Waiting], progress: Callable[[int], None]
) -> tuple[list[Passage], list[int], list[Terms], Iterator[Encoded]]:
    """The passages of documents, for each the place of its document, their terms, and their states in blocks."""
    language = collection.settings.language
    split = splitter(encoder, collection.settings.chunking, language)
    passages, owners = list[Passage](), list[int]()
    for owner, chunks in enumerate(split.passages([_passage(each.document) for each in waiting])):
        passages += chunks
        owners += [owner] * len(chunks)

    def blocks() -> Iterator[Encoded]:
        for start, end in pairwise([*range(0, len(passages), BLOCK), len(passages)]):
            yield encoder.encode([passage.content for passage in passages[start:end]])
            progress(owners[end - 1] - (owners[start - 1] if start else -1))

    return passages, owners, [Terms.of(passage.content, language) for passage in passages], blocks()


def begin_encoding(collection: Collection, encoder: Encodes, model: Model) -> str | None:
    """Begin to encode all documents with another model; `encode_next` goes on with it.

    Returns the key of the job; None if an encoding with a third model is on its way. ValueError if it is not possible
    with this model.
    """
    if collection.remote:
        raise ValueError(f"the passages of the collection {collection.name} are in Milvus; build it again")
    splitter(encoder, collection.settings.chunking, collection.settings.language)
    if model.digest == collection.settings.model.digest:
        return collection.jobs.skip(ENCODE)
    return collection.next.begin(model)


def encode_next(
    collection: Collection, encoder: Encodes, progress: Callable[[int], None], most: int = DOCUMENTS
) -> bool:
    """Encode up to `most` documents with the next model; when there are none left, let it serve.

    The old model serves until then. A kill costs the documents of one call. The caller holds the lock.

    progress: called with the number of documents that were encoded since the last call. Returns whether some are left.
    """
    encoding = collection.next.encoding()
    if encoding is None:
        return False
    if encoding.model.digest != encoder.digest:
        raise WrongModel(f"the collection {collection.name} is being encoded with {encoding.model.name!r}")
    waiting = [Waiting(number, document) for number, document in collection.page(encoding.until, most)]
    if not waiting:
        return not _switched(collection, encoding)
    try:
        passages, owners, terms, states = _encoded(collection, encoder, waiting, progress)
        number = collection.segments.next_number()
        _write(collection, number, passages, terms, states, encoding.model)
        if collection.next.add(encoding, waiting, owners, number):
            _merge_next(collection, encoding)
    except EncodingError as error:
        if len(waiting) > 1:  # fewer at once, until the one is found
            return encode_next(collection, encoder, progress, len(waiting) // 2)
        collection.next.set_aside(encoding, waiting[0], str(error))
    return True


def _switched(collection: Collection, encoding: Encoding) -> bool:
    """Let the next generation serve, and give back the space of the old one; whether it does."""
    if not collection.next.switch(encoding):
        return collection.next.encoding() is None
    sweep(collection)
    return True


def _passage(document: Document) -> Passage:
    return Passage(document.id, document.title, document.text)


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
    faults = {part.number: fault for part in chosen if (fault := verify(part.segment, whole=True).fault)}
    if faults:  # what is damaged must not be copied
        collection.reopen(faults)
        return bool(repair(collection, faults))
    collection.segments.replace(*_copied(collection, chosen, snapshot.model))
    sweep(collection)
    return True


def _merge_next(collection: Collection, encoding: Encoding) -> None:
    """Merge small segments of the next generation, if there are such. What is damaged waits for the switch."""
    while rows := _due(collection.next.segments.all()):
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
    kept = [part for part in parts if len(rows[part.number])]
    number = collection.segments.next_number()
    if kept:
        passages = [each for part in kept for each in part.segment.passages(rows[part.number])]
        terms = [each for part in kept for each in part.segment.terms(rows[part.number])]
        states = (block for part in kept for block in _states(part.segment, rows[part.number]))
        _write(collection, number, passages, terms, states, model)
    return rows, number


def _write(
    collection: Collection,
    number: int,
    passages: Sequence[Passage],
    terms: Sequence[Terms],
    states: Iterable[Encoded],
    model: Model | None = None,
) -> None:
    """Write a segment; CollectionDeleted if the collection was: it must not come back, nor be mixed with another one.

    model: None: the one that serves.
    """
    folder, settings = collection.segment_folder(number), collection.settings
    collection.check_there()
    try:
        folder.parent.mkdir(exist_ok=True)  # lost, perhaps; the folder above it must be there
        write(folder, passages, terms, states, model or settings.model, settings.language, parents=False)
    except FileNotFoundError as error:
        raise CollectionDeleted(f"the collection {collection.name} was deleted while it was written to") from error


def _states(segment: Segment, rows: NDArray[np.int64]) -> Iterator[Encoded]:
    for start in range(0, len(rows), BLOCK):
        yield segment.states(rows[start : start + BLOCK])


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
    if collection.next.encoding():
        known |= {str(row.number) for row in collection.next.segments.all()}
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
    faults = {}
    for row in collection.segments.all():
        if numbers is None or row.number in numbers:
            try:
                fault = verify(Segment(collection.segment_folder(row.number)), whole=True).fault
            except SegmentUnreadable:
                raise
            except CollectionError as error:
                fault = str(error)
            if fault:
                faults[row.number] = fault
    return faults


def repair(collection: Collection, numbers: Iterable[int] | None = None) -> dict[int, str]:
    """Forget damaged segments, so that their documents wait again; returns which, and why. The caller holds the lock.

    numbers: those that are looked at; None for all.
    """
    faults = damaged(collection, numbers)
    if faults and collection.remote:
        collection.remote.renew()
    elif faults:
        collection.segments.forget(faults)
        sweep(collection)
    return faults


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield the items in lists of up to `size`."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
