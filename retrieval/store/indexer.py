"""Making documents searchable: waiting documents become segments, in the stages of `pipeline`.

One process at a time does it for a collection, whoever takes the lock; the system frees it when a process ends. What a
killed process left unfinished is not known to the database, and is done again.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from retrieval.encoder.chunks import splitter
from retrieval.encoder.protocol import Encoder
from retrieval.errors import CollectionError, CollectionUnwritable, EncodingError, PassageTooLarge, WrongModel
from retrieval.index.milvus_client import Milvus
from retrieval.index.passage_index import Model, check_encoder
from retrieval.index.segment import BLOCK
from retrieval.store.collection import Collection, CollectionSettings, create_in, new_folder
from retrieval.store.compaction import merge, merge_next, repair, sweep, write_segment
from retrieval.store.generation import Encoding
from retrieval.store.jobs import ENCODE
from retrieval.store.pipeline import Encodes, by_batch, in_lists, pipeline
from retrieval.store.placement import placed, publish
from retrieval.store.rows import Document, Waiting
from retrieval.text.languages import AUTO
from retrieval.text.passages import Passage
from retrieval.text.splitters import WHOLE, Chunking

Counting = Callable[[int, int], None]  # done, of how many

_LOCK = "indexer.lock"
PUT_AT_ONCE = 1000  # documents in one transaction
_EMPTY = "there are no passages to build a collection from"
DOCUMENTS = 2048  # that become one segment; a few hundred would make too many files, more would be found later


def build(
    folder: Path,
    passages: Iterable[Passage | Document],
    encoder: Encoder,
    progress: Counting,
    language: str = AUTO,
    milvus: Milvus | None = None,
    chunking: Chunking = WHOLE,
    *,
    replace: bool = False,
) -> None:
    """Make a collection of passages, atomically; a kill leaves what was there.

    Args:
        folder: The folder of the collection.
        passages: At least one; the last one of an id counts.
        encoder: Encodes them.
        progress: Called with the number of passages that are indexed and the total.
        language: Of the passages: a code, "none" or "auto".
        milvus: Where passages are kept; None: in segments.
        chunking: How long ones are split.
        replace: Take the place of a collection, even of one that is made meanwhile.

    Raises:
        CollectionError: There are no passages, the collection cannot be written, or there is one.
        ValueError: A chunking that is not possible with this encoder.
    """
    splitter(encoder, chunking, language)  # it is possible; a size that is not given is each model's own
    made = CollectionSettings(Model.of(encoder), language, chunking)
    with (
        _kept(folder),
        placed(folder.name, made, encoder, milvus) as settings,
        new_folder(folder, replace=replace) as partial,
    ):
        create_in(partial, settings)
        collection = Collection(partial, milvus)
        try:
            for some in in_lists(passages, PUT_AT_ONCE):
                collection.put(
                    each if isinstance(each, Document) else Document(each.id, each.text, each.title) for each in some
                )
            if not collection.counts().documents:
                raise CollectionError(_EMPTY)
            index_all(collection, encoder, progress)
        finally:
            collection.close()
    publish(folder, milvus)


@contextmanager
def _kept(folder: Path) -> Iterator[None]:
    """Say of a collection that was made while this one was built that it is kept: it may hold what was acknowledged."""
    try:
        yield
    except FileExistsError as error:
        raise CollectionError(f"the collection {folder.name} was made meanwhile; --force replaces it") from error


def update(collection: Collection, documents: Iterable[Document], encoder: Encodes, progress: Counting) -> None:
    """Let a collection hold these documents and no others; what is unchanged is not encoded again.

    An old document is found until its new content is. A kill leaves some old and some new ones; run it again.
    The caller holds the lock.

    Args:
        collection: The collection, of the encoder's model.
        documents: At least one; the last one of an id counts.
        encoder: Encodes them.
        progress: Called with the number of documents that are indexed and of all that are new or changed.

    Raises:
        CollectionError: There are no documents, or the collection cannot be written.
    """
    kept = set[str]()
    for some in in_lists(documents, PUT_AT_ONCE):
        collection.put(some)
        kept.update(document.id for document in some)
    if not kept:
        raise CollectionError(_EMPTY)
    repair(collection)
    index_all(collection, encoder, progress)
    after, gone = 0, list[str]()
    while page := collection.page(after, PUT_AT_ONCE):
        after = page[-1][0]
        gone += (document.id for _, document in page if document.id not in kept)
    if gone:
        collection.delete(gone)
        while merge(collection) or collection.trim():
            pass


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

    index_waiting(collection, encoder, count, most=sys.maxsize)
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


def index_waiting(
    collection: Collection,
    encoder: Encodes,
    progress: Callable[[int], None],
    most: int = DOCUMENTS,
    at_once: int = DOCUMENTS,
) -> int:
    """Make about `most` waiting documents searchable, and merge small segments. The caller holds the lock.

    A document that the model cannot encode is set aside: it is kept, and not searchable.

    Args:
        collection: Whose documents.
        encoder: Encodes them.
        progress: Called with the number of documents that were encoded since the last call.
        most: After so many it ends.
        at_once: So many become searchable together; a kill costs their encoding.

    Returns:
        How many no longer wait.
    """
    check_encoder(collection, encoder)
    if collection.remote:
        collection.remote.flush()
        at_once = min(at_once, BLOCK)  # they are in memory with their states
    done, size = 0, min(at_once, most)
    while done < most and (first := collection.documents.waiting(min(2, most - done))):
        batches = [[each] for each in first] if size == 1 else _waiting(collection, size, most - done)
        try:
            for count in _indexed(collection, encoder, progress, batches):
                done += count
                first = first[1:]  # if they come one by one, an error is that of the next one
                while merge(collection):
                    pass
        except (EncodingError, PassageTooLarge) as error:
            if size > 1:  # fewer at once, until the one is found; those before it were indexed
                size = -(-size // 2)
                continue
            collection.documents.set_aside(first[0], str(error))  # if it still waits
            done += 1
        size = min(at_once, most)
    return done


def _indexed(
    collection: Collection, encoder: Encodes, progress: Callable[[int], None], batches: Iterable[Sequence[Waiting]]
) -> Iterator[int]:
    """Index batches of documents; the number of each batch when it is searchable."""
    settings = collection.settings
    with closing(pipeline(batches, encoder, settings.chunking, settings.language)) as blocks:
        for batch in by_batch(blocks, progress):
            if collection.remote:
                collection.remote.write(batch.documents, batch.owners, list(batch.blocks()))
            else:
                number = collection.segments.next_number()
                write_segment(collection, number, batch.blocks())
                collection.segments.add(batch.documents, batch.owners, number)
            yield len(batch.documents)


def _waiting(collection: Collection, size: int, most: int) -> Iterator[list[Waiting]]:
    """Batches of the documents that wait, in order; those that come meanwhile are behind them."""
    after = 0
    while most > 0 and (batch := collection.documents.waiting(min(size, most), after=after)):
        yield batch
        after, most = batch[-1].number, most - len(batch)


def begin_encoding(collection: Collection, encoder: Encodes, model: Model) -> str | None:
    """Begin to encode all documents with another model; `encode_next` goes on with it.

    Where no size of chunks was chosen, they are as long as this model reads.

    Returns the key of the job; None if an encoding with another model is on its way. ValueError if it is not possible
    with this model.
    """
    if collection.remote:
        raise ValueError(f"the passages of the collection {collection.name} are in Milvus; build it again")
    settings = collection.settings
    if model.digest == settings.model.digest:
        return None if collection.encoding() else collection.jobs.skip(ENCODE)
    chunking = settings.chunking.without_default(settings.model.max_tokens)
    try:
        splitter(encoder, chunking, settings.language)
    except ValueError as error:
        raise ValueError(
            f"{error}, which the collection {collection.name} was made with: get its documents by `qrerank index "
            f"export {collection.name}`, and make a collection of them with other chunks, by --chunk-size and "
            "--overlap of `qrerank index build` or by `chunking` over HTTP"
        ) from error
    return collection.next.begin(model, chunking)


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
    settings = collection.settings
    try:
        with closing(pipeline([waiting], encoder, settings.chunking, settings.language)) as blocks:
            batch = next(by_batch(blocks, progress))
            number = collection.segments.next_number()
            write_segment(collection, number, batch.blocks(), encoding.model)
        if collection.next.add(encoding, waiting, batch.owners, number):
            merge_next(collection, encoding)
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
