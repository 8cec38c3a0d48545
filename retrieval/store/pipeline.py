"""The stages of indexing beside each other: documents are prepared, those before them encoded, and written before that.

Each stage is a thread. It is at most one block ahead of the next stage, so memory does not grow with the documents.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from typing import Protocol, TypeVar

from retrieval.encoder.chunks import Reads, splitter
from retrieval.encoder.protocol import Tokens
from retrieval.encoder.states import Encoded
from retrieval.index.segment import BLOCK, Block
from retrieval.store.rows import Waiting
from retrieval.text.bm25 import Terms
from retrieval.text.limits import runs
from retrieval.text.passages import Passage
from retrieval.text.splitters import Chunking, Splitter

Item = TypeVar("Item")


class Encodes(Reads, Protocol):
    """What the indexer needs of an encoder."""

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def digest(self) -> str:
        """Identifies the weights."""

    def encode_tokens(self, tokens: Sequence[Tokens]) -> Encoded:
        """Return the states of n ≥ 1 texts of `tokenize`, in order."""


@dataclass(frozen=True)
class Prepared:
    """Some passages of a batch of documents, ready to be encoded."""

    batch: Sequence[Waiting]
    owners: list[int]  # for each passage the place of its document in the batch; they rise
    passages: list[Passage]
    terms: list[Terms]
    tokens: list[Tokens]
    is_last: bool  # whether the batch ends with them


@dataclass(frozen=True)
class Indexed:
    """Some passages of a batch of documents, ready to be written."""

    batch: Sequence[Waiting]
    owners: list[int]  # see `Prepared`
    block: Block
    is_last: bool


def pipeline(
    batches: Iterable[Sequence[Waiting]], encoder: Encodes, chunking: Chunking, language: str
) -> Generator[Indexed, None, None]:
    """Yield the passages of batches of documents, in order. Close it, if it is not read to its end.

    Args:
        batches: Of n ≥ 1 documents each; read in another thread.
        encoder: Encodes them.
        chunking: How long ones are split.
        language: Of the documents, as for `Terms.of`.
    """
    return ahead(_encoded(ahead(prepared(batches, encoder, chunking, language)), encoder))


def ahead(items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """Yield the items of a generator, none of them None, which makes the next one in a thread meanwhile.

    Its error is raised here after the items before it. Closing this one waits for the item that is being made.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="stage")
    with closing(items):
        try:
            pending = deque([pool.submit(next, items, None)])
            while (item := pending.popleft().result()) is not None:
                pending.append(pool.submit(next, items, None))
                yield item
        finally:
            pool.shutdown(cancel_futures=True)


def _encoded(pieces: Generator[Prepared, None, None], encoder: Encodes) -> Generator[Indexed, None, None]:
    with closing(pieces):
        for each in pieces:
            block = Block(each.passages, each.terms, encoder.encode_tokens(each.tokens))
            yield Indexed(each.batch, each.owners, block, each.is_last)


def prepared(
    batches: Iterable[Sequence[Waiting]], encoder: Encodes, chunking: Chunking, language: str
) -> Generator[Prepared, None, None]:
    """Yield the passages of batches of documents, ready to be encoded; see `pipeline`."""
    split = splitter(encoder, chunking, language)
    for batch in batches:
        documents = [Passage(each.document.id, each.document.title, each.document.text) for each in batch]
        for some, is_last in _with_end(in_lists(_passages(documents, encoder, split), BLOCK)):
            owners, passages, read = (list(column) for column in zip(*some, strict=True))
            chunks = iter(encoder.tokenize([p.content for p, known in zip(passages, read, strict=True) if not known]))
            tokens = [known or next(chunks) for known in read]
            terms = Terms.of_each([passage.content for passage in passages], language)
            yield Prepared(batch, owners, passages, terms, tokens, is_last)


def _passages(
    documents: Sequence[Passage], encoder: Encodes, split: Splitter
) -> Iterator[tuple[int, Passage, Tokens | None]]:
    """The passages of documents, each with the place of its document; with its tokens if it is the whole document."""
    for run in runs([len(document.text) for document in documents], count=BLOCK):
        read = encoder.tokenize([document.content for document in documents[run]])
        for at, tokens in enumerate(read, start=run.start):
            if split.fits(documents[at], tokens.of_text):
                yield at, documents[at], tokens
            else:
                yield from ((at, chunk, None) for chunk in split.chunks(documents[at]))


def _with_end(items: Iterator[Item]) -> Iterator[tuple[Item, bool]]:
    """The items, each with whether it is the last one."""
    item = next(items, None)
    while item is not None:
        following = next(items, None)
        yield item, following is None
        item = following


class Batch:
    """Documents that become searchable together, whose passages come from a pipeline."""

    def __init__(self, first: Indexed, rest: Iterator[Indexed], progress: Callable[[int], None]) -> None:
        """Take the first passages of the batch, and those that follow; see `by_batch`."""
        self.documents: Sequence[Waiting] = first.batch
        self.owners: list[int] = []  # of the passages that were read; see `Prepared`
        self._pieces, self._progress = chain([first], rest), progress

    def blocks(self) -> Iterator[Block]:
        """Yield the passages, once; nothing of the next batch is read."""
        for piece in self._pieces:
            self._progress(piece.owners[-1] - (self.owners[-1] if self.owners else -1))
            self.owners += piece.owners
            yield piece.block
            if piece.is_last:
                return


def by_batch(pieces: Iterator[Indexed], progress: Callable[[int], None]) -> Iterator[Batch]:
    """Yield what a pipeline gives, batch by batch; the blocks of each are read before the next is asked for.

    progress: called with the number of documents of which passages were read since the last call.
    """
    for first in pieces:
        yield Batch(first, pieces, progress)


def in_lists(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield the items in lists of up to `size`."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
