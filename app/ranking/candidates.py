"""Candidates: the documents to rank, sent with the request or retrieved from a collection."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.deadline import Deadline
from retrieval.encoder.chunks import USUAL, Cuts, Reading, cut_up
from retrieval.encoder.protocol import Tokens
from retrieval.encoder.states import ScatteredStates
from retrieval.errors import EncoderUnavailable
from retrieval.fusion import ranking
from retrieval.index.passage_index import PassageIndex, Words
from retrieval.states.record import TextState
from retrieval.states.source import Opened, StateSource
from retrieval.text.bm25 import NO_TERMS, Matches, QueryTerms, Terms, bm25
from retrieval.text.characters import symbol_share
from retrieval.text.languages import AUTO
from retrieval.text.limits import Allowance, runs

_FOR_CUTTING = 0.25  # of the time left, at most, to see where reading ends in long documents
_FOR_TERMS = 0.75  # of the time left after that, at most, to cut documents into terms: without them none is promising


class Candidates(Protocol):
    """n documents: how they match by words, and part by part their states."""

    @property
    def texts(self) -> Sequence[str]:
        """Their texts, (n,)."""

    @property
    def late(self) -> bool:
        """Whether there was no time to find the terms of some documents; those are not read."""

    @property
    def truncated(self) -> int:
        """How many documents were not read to their end, because too much of their text holds no words."""

    @property
    def characters(self) -> NDArray[np.int64]:
        """(n,) code points of the whole texts."""

    @property
    def cut(self) -> NDArray[np.bool_]:
        """(n,) whether a document is longer than what may be read of it."""

    @property
    def planned(self) -> NDArray[np.int64]:
        """(n,) chunks that each document was split into so far."""

    @property
    def owners(self) -> NDArray[np.int64] | None:
        """(n,) numbers of documents, of which only the best passage is ranked; None: each by itself."""

    @property
    def unavailable(self) -> EncoderUnavailable | None:
        """The failure of an encoder on another machine, which left documents unread; None if there was none."""

    @property
    def symbols(self) -> NDArray[np.float64]:
        """(n,) shares of symbols at their beginnings, see `symbol_share`."""

    @property
    def copies(self) -> NDArray[np.int64]:
        """(n,) where each text comes first: its own position, or that of an equal one before it."""

    def matches(self, query: QueryTerms) -> Matches:
        """How they match the words of the query."""

    @property
    def ready(self) -> NDArray[np.bool_]:
        """(n,) whether a document's state is at hand and covers all its text."""

    def split(self, chosen: NDArray[np.int64], query: QueryTerms, until: float) -> NDArray[np.int64]:
        """Cut the (m,) chosen documents into c chunks, numbered from 0 in the order in which to read them.

        First comes each document's most promising chunk, in the order of the chosen, then each one's second. A document
        is left out when it is too late to look at it. Returns (c,) the documents that the chunks belong to.
        """

    def encode(self, chunks: NDArray[np.int64], until: float, deadline: Deadline) -> NDArray[np.int64]:
        """Encode the (c,) chunks, the first most urgently, until `until`; returns the numbers of those with states.

        States of the last call are kept where their chunks are asked for again.
        """

    def states(self, chunks: NDArray[np.int64]) -> ScatteredStates:
        """The states of chunks that the last `encode` returned."""

    def spans(self, chunks: NDArray[np.int64]) -> NDArray[np.int64]:
        """(c, 2) code points of their documents at which chunks of the last `split` begin and end."""


@dataclass(slots=True)  # not frozen, which makes it three times as fast to create
class Chunk:
    """A document, or a part of one that is read by itself."""

    document: int
    start: int  # code point of the document
    text: str
    terms: Terms | None  # None: there was no time to find them, so it is not read
    state: TextState | None = None
    read: Tokens | None = None


class SentDocuments:
    """Documents that were sent with a request; those that are not cached must be encoded."""

    owners = None

    def __init__(
        self,
        texts: Sequence[str],
        source: StateSource,
        reading: Reading = USUAL,
        deadline: Deadline | None = None,
        language: str = AUTO,
    ) -> None:
        """Look up the states of n texts, as far as each is read, and find the terms of those that are not cached.

        Raises: ValueError for one text in place of a list, TypeError for what is no text, or no `Reading`.
        """
        _check_list(texts)
        if not isinstance(reading, Reading):
            raise TypeError(f"reading is a Reading, such as Reading(max_tokens=512); got {reading!r}")
        deadline = deadline or Deadline()
        self._source, self._reading, self._language = source, reading, language
        limit, end = source.bounds(reading)
        self.texts = list(texts)
        self.characters = np.array([len(text) for text in texts], dtype=np.int64)
        self.cut, self.planned = np.zeros(len(texts), dtype=bool), np.zeros(len(texts), dtype=np.int64)
        self._cuts: dict[int, Cuts] = {}
        self._truncated: set[int] = set()
        if long := np.flatnonzero(self.characters > limit).tolist():  # that may be longer than what is read
            self._cut_long(long, end, deadline.share(_FOR_CUTTING))
        self._cached = source.cached(self.texts)
        self._terms = [self._cached_terms(state) for state in self._cached]
        if None in self._terms:
            self._cut_into_terms(deadline.share(_FOR_TERMS))
        self.late = None in self._terms
        self.ready = np.array([state is not None and source.is_whole(state) for state in self._cached], dtype=bool)
        self.chunks: list[Chunk] = []  # of the last split
        self.unavailable: EncoderUnavailable | None = None
        self._fresh: dict[int, TextState] = {}  # of the last encoded only, so that memory does not grow with n

    @property
    def truncated(self) -> int:
        """See `Candidates.truncated`."""
        return len(self._truncated)

    @cached_property
    def symbols(self) -> NDArray[np.float64]:
        """See `Candidates.symbols`."""
        return np.array([symbol_share(text) for text in self.texts], dtype=np.float64)

    @cached_property
    def copies(self) -> NDArray[np.int64]:
        """See `Candidates.copies`."""
        first: dict[str, int] = {}
        return np.array([first.setdefault(text, at) for at, text in enumerate(self.texts)], dtype=np.int64)

    def matches(self, query: QueryTerms) -> Matches:
        """No match of those that there was no time to look at."""
        return bm25(query, [terms or NO_TERMS for terms in self._terms])

    def split(self, chosen: NDArray[np.int64], query: QueryTerms, until: float) -> NDArray[np.int64]:
        """Cut those that are too long for the encoder."""
        self._fresh = {}
        if self.ready[chosen].all():
            self.chunks = [Chunk(at, 0, self.texts[at], self._terms[at], self._cached[at]) for at in chosen.tolist()]
        else:
            self.chunks = self._cut_up(chosen, query, until)
        most = self._source.code_points
        self._truncated |= {chunk.document for chunk in self.chunks if len(chunk.text) > most}
        owners = np.array([chunk.document for chunk in self.chunks], dtype=np.int64)
        self.planned += np.bincount(owners, minlength=len(self.planned))
        return owners

    def _cut_up(self, chosen: NDArray[np.int64], query: QueryTerms, until: float) -> list[Chunk]:
        if self.late:
            chosen = np.array([at for at in chosen.tolist() if self._terms[at] is not None], dtype=np.int64)
        opened = self._open(chosen[~self.ready[chosen]].tolist(), until)
        documents = [self._chunks(at, opened.get(at), until) for at in chosen.tolist()]
        by_promise = _most_promising_first([chunks for chunks in documents if chunks], query)
        return [chunk for turn in zip_longest(*by_promise) for chunk in turn if chunk is not None]

    def encode(self, chunks: NDArray[np.int64], until: float, deadline: Deadline) -> NDArray[np.int64]:
        """Encode the chunks that are not cached."""
        wanted = {at: chunk for at in chunks.tolist() if (chunk := self.chunks[at]).state is None}
        if wanted:
            self._encode(wanted, until, deadline)
        return np.array([at for at in chunks.tolist() if at not in wanted or at in self._fresh], dtype=np.int64)

    def _encode(self, wanted: Mapping[int, Chunk], until: float, deadline: Deadline) -> None:
        self._fresh = {at: self._fresh[at] for at in wanted if at in self._fresh}
        missing = {at: chunk for at, chunk in wanted.items() if at not in self._fresh and chunk.terms is not None}
        if not missing or self.unavailable or time.monotonic() >= until:
            return
        of = missing.values()
        texts, read = [each.text for each in of], [each.read for each in of]
        # Cached with the state are the terms in the language that the text shows, whatever this request says.
        shown = [each.terms for each in of if each.terms is not None]
        terms = shown if self._language == AUTO else Terms.of_each(texts)
        try:
            found = self._source.encode(texts, terms, until, deadline, read=read)
        except EncoderUnavailable as error:
            self.unavailable, found = error, self._source.cached(texts)  # with what it had encoded
        self._fresh |= {at: state for at, state in zip(missing, found, strict=True) if state is not None}

    def states(self, chunks: NDArray[np.int64]) -> ScatteredStates:
        """Cached and fresh states."""
        return ScatteredStates.of([(self.chunks[at].state or self._fresh[at]).encoded for at in chunks.tolist()])

    def spans(self, chunks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the documents were cut."""
        of = (self.chunks[at] for at in chunks.tolist())
        return np.array([(chunk.start, chunk.start + len(chunk.text)) for chunk in of], dtype=np.int64)

    def _cut_long(self, long: Sequence[int], end: int, until: float) -> None:
        """See where reading ends in the long ones among the texts, and keep no more of them; `end` at the latest."""
        cuts = self._source.chunker.cuts([self.texts[at] for at in long], self._reading, until)
        for at, of in zip(long, cuts, strict=True):
            text = self.texts[at]
            self.texts[at] = text[: of[-1] if of else end]
            if of:
                self._cuts[at], self.cut[at] = of, of[-1] < len(text)
                if of[-1] == end < len(text):
                    self._truncated.add(at)

    def _cut_into_terms(self, until: float) -> None:
        """Find the terms of documents that are not cached, as far as there is time. Copies have those of the first."""
        first = self.copies.tolist()
        missing = [at for at in dict.fromkeys(first) if self._terms[at] is None]
        time_left = Allowance(until)
        for run in runs([len(self.texts[at]) for at in missing]):
            self._add_terms(self._terms, self.texts, [at for at in missing[run] if time_left.covers(self.texts[at])])
        self._terms = [self._terms[at] for at in first]

    def _add_terms(self, terms: list[Terms | None], texts: Sequence[str], missing: Sequence[int]) -> None:
        """Find the terms of those of the n texts that have none, and put them into their places."""
        found = Terms.of_each([texts[at] for at in missing], self._language)
        for at, its in zip(missing, found, strict=True):
            terms[at] = its

    def _open(self, documents: Sequence[int], until: float) -> dict[int, Opened]:
        opened = {at: Opened(self._cuts[at]) for at in documents if at in self._cuts}
        rest = [at for at in documents if at not in opened]
        found = self._source.find_cuts([self.texts[at] for at in rest], self._reading, until)
        return opened | {at: of for at, of in zip(rest, found, strict=True) if of}

    def _chunks(self, at: int, opened: Opened | None, until: float) -> list[Chunk]:
        """The chunks of a document, none of one that was not opened."""
        if self.ready[at]:
            return [Chunk(at, 0, self.texts[at], self._terms[at], self._cached[at])]
        if opened is None:
            return []
        if opened.state or opened.read:
            return [Chunk(at, 0, self.texts[at], self._terms[at], opened.state, opened.read)]
        texts = cut_up(self.texts[at], opened.cuts)
        states = self._source.cached(texts)
        if len(texts) == 1:
            return [Chunk(at, 0, texts[0], self._terms[at], states[0])]
        terms = [self._cached_terms(state) for state in states]
        if time.monotonic() < until:
            self._add_terms(terms, texts, [at for at, known in enumerate(terms) if known is None])
        parts = zip(opened.cuts[:-1], texts, states, terms, strict=True)
        return [Chunk(at, start, text, its_terms, state) for start, text, state, its_terms in parts]

    def _cached_terms(self, state: TextState | None) -> Terms | None:
        """The terms of a cached text, if they are in the language that was asked for."""
        return state.terms if state and self._language in {AUTO, state.terms.language} else None


def _check_list(texts: Sequence[str]) -> None:
    """ValueError for one text in place of several, TypeError for what has no positions, or holds what is no text."""
    if isinstance(texts, str):
        raise ValueError("give a list of texts: of a single one, each letter would count")  # noqa: TRY004 - as the others
    if isinstance(texts, Mapping | Set):
        raise TypeError(
            f"give a list of texts: positions in a {type(texts).__name__} mean nothing, and keys are no texts"
        )
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"text {number} is a {type(text).__name__}; give a list of strings")


def _most_promising_first(documents: Sequence[list[Chunk]], query: QueryTerms) -> list[list[Chunk]]:
    """Each document's chunks by their BM25 scores for the query, ties as they stand."""
    several = (chunk for chunks in documents if len(chunks) > 1 for chunk in chunks)
    scores = bm25(query, [chunk.terms or NO_TERMS for chunk in several]).scores
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

    late = False
    truncated = 0
    unavailable = None

    def __init__(
        self, positions: NDArray[np.int64], collection: PassageIndex, words: Words, *, grouped: bool = False
    ) -> None:
        """Take n passages by their positions in the collection; their texts are read where they are needed.

        words: the query's. grouped: rank only each document's best.
        """
        self._positions, self._collection, self._words = positions, collection, words
        self.owners = collection.owners(positions) if grouped else None
        traits = collection.traits(positions)
        self.characters: NDArray[np.int64] = traits["characters"]
        self.symbols: NDArray[np.float64] = traits["symbols"]
        _, first, of = np.unique(traits["digest"], return_index=True, return_inverse=True)
        self.copies: NDArray[np.int64] = first[of]
        self.cut = collection.is_cut(positions)
        self.planned = np.zeros(len(positions), dtype=np.int64)
        self.ready = np.ones(len(positions), dtype=bool)
        self._chosen = np.arange(0)

    @cached_property
    def texts(self) -> list[str]:
        """See `Candidates.texts`."""
        return [passage.content for passage in self._collection.passages(self._positions)]

    def matches(self, query: QueryTerms) -> Matches:  # noqa: ARG002 - its words are looked up already
        """By the index of the collection. A passage that comes again counts once."""
        different, of = np.unique(self._positions, return_inverse=True)
        if len(different) == len(of):
            return self._words.matches(self._positions)
        once = self._words.matches(different)
        return Matches(once.scores[of], once.coverage[of])

    def split(
        self,
        chosen: NDArray[np.int64],
        query: QueryTerms,  # noqa: ARG002 - nothing to cut
        until: float,  # noqa: ARG002
    ) -> NDArray[np.int64]:
        """The chosen as they are: what was cut was so when the collection was built."""
        self._chosen = chosen
        self.planned[chosen] = 1
        return chosen

    def encode(
        self,
        chunks: NDArray[np.int64],
        until: float,  # noqa: ARG002 - nothing to wait for
        deadline: Deadline,  # noqa: ARG002
    ) -> NDArray[np.int64]:
        """All of them: they are stored."""
        return chunks

    def states(self, chunks: NDArray[np.int64]) -> ScatteredStates:
        """The stored states."""
        return ScatteredStates.of([self._collection.states(self._positions[self._chosen[chunks]])])

    def spans(self, chunks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Whole passages."""
        ends = self.characters[self._chosen[chunks]]
        return np.stack([np.zeros_like(ends), ends], axis=1)
