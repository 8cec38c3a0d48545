"""The documents to rank, wherever they come from: sent with the request, or found in a collection."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.collection import Collection
from retrieval.deadline import Deadline
from retrieval.encoder import Tokens
from retrieval.encoding import Encoded, join
from retrieval.fusion import ranking
from retrieval.lexical import bm25, tokenize
from retrieval.state_source import Opened, StateSource
from retrieval.text_state import TextState
from retrieval.windows import USUAL, Cuts, Reading, cut_up


class Candidates(Protocol):
    """n documents: their terms at once, their states by the part."""

    @property
    def texts(self) -> Sequence[str]:
        """Their texts, (n,)."""

    @property
    def terms(self) -> Sequence[Sequence[str]]:
        """Their lexical terms, (n,)."""

    @property
    def ready(self) -> NDArray[np.bool_]:
        """(n,) whose states surely cost nothing."""

    def split(self, chosen: NDArray[np.int64], query_terms: Sequence[str], until: float) -> NDArray[np.int64]:
        """Cut the (m,) chosen into c chunks to be numbered from 0 in the order in which they should be read.

        Returns (c,) the documents that they belong to. First comes each document's most promising chunk, in the order
        of the chosen, then each one's second. A document is left out when it is too late to look at it.
        """

    def encode(self, chunks: NDArray[np.int64], until: float, deadline: Deadline) -> NDArray[np.int64]:
        """Wait for the states of the (c,) chunks, the first most urgently; the numbers of those there by `until`.

        What the last call gave and is asked for again is there.
        """

    def states(self, chunks: NDArray[np.int64]) -> Encoded:
        """The states of chunks that the last `encode` gave."""


@dataclass(slots=True)  # not frozen: there are a hundred to make each time, and that would take three times as long
class Chunk:
    """A document, or a part of one that is read by itself."""

    document: int
    start: int  # code point of the document
    text: str
    terms: Sequence[str]
    state: TextState | None = None
    read: Tokens | None = None


class SentDocuments:
    """Documents that came with a request; states that are not remembered must be encoded."""

    def __init__(
        self, texts: Sequence[str], source: StateSource, reading: Reading = USUAL, until: float = math.inf
    ) -> None:
        """Look up what is remembered of these n texts, up to where reading ends.

        until: `time.monotonic()` seconds after which no more of them are tokenised to see where that is.
        """
        self._source, self._reading = source, reading
        self._cuts = self._ends(texts, until)
        self.texts = [text[: cuts[-1]] if (cuts := self._cuts.get(at)) else text for at, text in enumerate(texts)]
        self._known = source.known(self.texts)
        self.terms = [
            state.term_list if state is not None else tokenize(text)
            for text, state in zip(self.texts, self._known, strict=True)
        ]
        self.ready = np.array([state is not None and source.is_whole(state) for state in self._known], dtype=bool)
        self.chunks: list[Chunk] = []  # of the last split
        self._fresh: dict[int, TextState] = {}  # of the last encoded only, so that memory does not grow with n

    def split(self, chosen: NDArray[np.int64], query_terms: Sequence[str], until: float) -> NDArray[np.int64]:
        """Cut those that are too long for the encoder."""
        opened = self._open(chosen[~self.ready[chosen]].tolist(), until)
        documents = [self._chunks(at, opened.get(at)) for at in chosen.tolist()]
        by_promise = _most_promising_first([chunks for chunks in documents if chunks], query_terms)
        self.chunks = [chunk for turn in zip_longest(*by_promise) for chunk in turn if chunk is not None]
        self._fresh = {}
        return np.array([chunk.document for chunk in self.chunks], dtype=np.int64)

    def encode(self, chunks: NDArray[np.int64], until: float, deadline: Deadline) -> NDArray[np.int64]:
        """Encode what is not remembered and can be encoded by `until`."""
        wanted = {at: self.chunks[at] for at in chunks.tolist() if self.chunks[at].state is None}
        self._fresh = {at: self._fresh[at] for at in wanted if at in self._fresh}
        missing = {at: chunk for at, chunk in wanted.items() if at not in self._fresh}
        if missing and time.monotonic() < until:
            of = missing.values()
            texts, terms, read = [each.text for each in of], [each.terms for each in of], [each.read for each in of]
            found = self._source.find(texts, terms, until, deadline, read=read)
            self._fresh |= {at: state for at, state in zip(missing, found, strict=True) if state is not None}
        return np.array([at for at in chunks.tolist() if at not in wanted or at in self._fresh], dtype=np.int64)

    def states(self, chunks: NDArray[np.int64]) -> Encoded:
        """What is remembered, and what was just encoded, in one piece."""
        return join([(self.chunks[at].state or self._fresh[at]).encoded for at in chunks.tolist()])

    def _ends(self, texts: Sequence[str], until: float) -> dict[int, Cuts]:
        """The cuts of those texts that may be longer than what is read of them."""
        windows = self._source.windows
        limit = windows.limit(self._reading)
        long = [at for at, text in enumerate(texts) if len(text) > limit]
        cuts = windows.cuts([texts[at] for at in long], self._reading, until)
        return {at: of for at, of in zip(long, cuts, strict=True) if of}

    def _open(self, documents: Sequence[int], until: float) -> dict[int, Opened]:
        opened = {at: Opened(self._cuts[at]) for at in documents if at in self._cuts}
        rest = [at for at in documents if at not in opened]
        found = self._source.open([self.texts[at] for at in rest], self._reading, until)
        return opened | {at: of for at, of in zip(rest, found, strict=True) if of}

    def _chunks(self, at: int, opened: Opened | None) -> list[Chunk]:
        """The chunks of a document, none of one that was not opened."""
        if self.ready[at]:
            return [Chunk(at, 0, self.texts[at], self.terms[at], self._known[at])]
        if opened is None:
            return []
        if opened.state or opened.read:
            return [Chunk(at, 0, self.texts[at], self.terms[at], opened.state, opened.read)]
        texts = cut_up(self.texts[at], opened.cuts)
        states = self._source.known(texts)
        if len(texts) == 1:
            return [Chunk(at, 0, texts[0], self.terms[at], states[0])]
        return [
            Chunk(at, start, text, state.term_list if state else tokenize(text), state)
            for start, text, state in zip(opened.cuts[:-1], texts, states, strict=True)
        ]


def _most_promising_first(documents: Sequence[list[Chunk]], query_terms: Sequence[str]) -> list[list[Chunk]]:
    """Each document's chunks by their BM25 scores for the query, ties as they stand."""
    scores = bm25(query_terms, [chunk.terms for chunks in documents if len(chunks) > 1 for chunk in chunks])
    ordered, at = [], 0
    for chunks in documents:
        if len(chunks) > 1:
            order = ranking(scores[at : at + len(chunks)])
            ordered.append([chunks[place] for place in order])
            at += len(chunks)
        else:
            ordered.append(chunks)
    return ordered


class FoundPassages:
    """Passages of a collection, whose states are stored."""

    def __init__(self, positions: NDArray[np.int64], collection: Collection) -> None:
        """Read n passages by their positions in the collection."""
        self._positions, self._collection = positions, collection
        self.texts = [passage.content for passage in collection.passages(positions)]
        self.terms = collection.terms(positions)
        self.ready = np.ones(len(positions), dtype=bool)
        self._chosen = np.arange(0)

    def split(
        self,
        chosen: NDArray[np.int64],
        query_terms: Sequence[str],  # noqa: ARG002 - nothing to cut
        until: float,  # noqa: ARG002
    ) -> NDArray[np.int64]:
        """The chosen as they are: what was cut was so when the collection was built."""
        self._chosen = chosen
        return chosen

    def encode(
        self,
        chunks: NDArray[np.int64],
        until: float,  # noqa: ARG002 - nothing to wait for
        deadline: Deadline,  # noqa: ARG002
    ) -> NDArray[np.int64]:
        """All of them: they are stored."""
        return chunks

    def states(self, chunks: NDArray[np.int64]) -> Encoded:
        """The stored states."""
        return self._collection.states(self._positions[self._chosen[chunks]])
