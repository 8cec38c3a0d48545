"""The reranking pipeline: text in, order out. It knows both libraries, and no HTTP.

>>> reranker = Reranker(encoder)
>>> reranker.rerank("which bird sings at night", ["an owl hunts mice", "the nightingale sings after dusk"]).order
array([1, 0])
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.candidates import Candidates, FoundPassages, SentDocuments
from app.pace import Pace
from app.parts import parts
from app.scoring import METHODS, Fusion, Method, Scorer, by_prescore
from app.stopwatch import Stopwatch
from app.turns import Turns
from quantum.circuits import check_limits
from quantum.feature_maps import FeatureMap, feature_map
from retrieval.collection import Collection, check_encoder
from retrieval.deadline import Deadline
from retrieval.encoder import Encoder
from retrieval.encoding import Encoded
from retrieval.fusion import ranking
from retrieval.lexical import bm25, tokenize
from retrieval.state_source import StateSource
from retrieval.windows import USUAL, Reading

_FOR_TOKENISING = 0.25  # of the time left, at most, before the pre-score


@dataclass(frozen=True)
class Ranking:
    """n documents ranked."""

    order: NDArray[np.int64]  # (n,) positions, best first
    scores: NDArray[np.float64]  # (n,) in input order, in [0, 1]
    rankers: Mapping[str, NDArray[np.float64]]  # (n,) each, in input order; NaN for a document that was not encoded
    encoded: int  # documents of which a chunk at least was read; the rest stand below them in pre-score order
    cut: bool  # whether the deadline left documents, or chunks of them, unread
    tokens: int  # that the encoder read or once read for these states, the query's among them
    timings_ms: Mapping[str, float]


@dataclass
class _Work:
    """One request on its way through the stages."""

    query: str
    method: Method
    exclude: Sequence[str] = ()
    encode_limit: int | None = None
    deadline: Deadline = field(default_factory=Deadline)
    report: Callable[[Ranking], None] | None = None
    watch: Stopwatch = field(default_factory=Stopwatch)
    asked: int = 0  # tokens of the query and of what it excludes
    cut: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"unknown method {self.method!r}; choose one of {', '.join(METHODS)}")
        if self.encode_limit is not None and self.encode_limit < 1:
            raise ValueError(f"encode_limit must be at least 1, or None for all; got {self.encode_limit}")
        if not all(text.strip() for text in (self.query, *self.exclude)):
            raise ValueError("the query and the excluded texts must not be empty")
        self.terms = tokenize(self.query)


class Reranker:
    """Ranks documents for a query. Threads may share it, and then share the encoder's passes and what is cached."""

    def __init__(
        self,
        source: Encoder | StateSource,
        states: FeatureMap | None = None,
        fusion: Fusion | None = None,
        processors: int = 1,
        turns: Turns | None = None,
    ) -> None:
        """Take an encoder, or one with a cache, a feature map and the fusion weights.

        processors: threads that compute at once; the others wait, which is cheaper than interrupting each other.
        turns: those that several rerankers take on the same processors, in the place of this one's own.
        CircuitTooLarge for a feature map whose real circuit is.
        """
        self.source = source if isinstance(source, StateSource) else StateSource(source)
        self.feature_map = states or feature_map()
        self.fusion = fusion or Fusion()
        self._turns = turns or Turns(processors)
        self._pace = Pace()
        check_limits(self.feature_map)

    @property
    def encoder(self) -> Encoder:
        """What turns texts into states."""
        return self.source.encoder

    def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        method: Method = "hybrid",
        exclude: Sequence[str] = (),
        encode_limit: int | None = None,
        deadline: Deadline | None = None,
        reading: Reading = USUAL,
        report: Callable[[Ranking], None] | None = None,
    ) -> Ranking:
        """Rank n ≥ 1 documents for a query; one that is too long for the encoder scores as the best of its chunks.

        exclude: what the answer must not be about. encode_limit: score only so many documents by their states, the most
        promising by BM25; the rest are ranked below them. deadline: the same, as many as there is time for.
        reading: what is read of each; no ranker knows the rest.
        report: called in this thread with each ranking on the way to the last, the pre-score's first; the last is the
        same, to the last bit, as it is without. What it raises ends the work.
        ValueError for an empty query, no documents, or an unknown method; Cancelled when the deadline is cancelled.
        """
        if not documents:
            raise ValueError("there are no documents to rank")
        work = _Work(query, method, exclude, encode_limit, deadline or Deadline(), report)
        with self._processor(work), work.watch("prescore"):
            until = work.deadline.share(_FOR_TOKENISING)
            candidates = SentDocuments(documents, self.source, reading, until)
            lexical = bm25(work.terms, candidates.terms)
        self._begin(work, lexical)
        return self._rank(work, self._ask(work, work.deadline.at), candidates, lexical)

    def search(
        self,
        query: str,
        collection: Collection,
        *,
        candidates: int = 100,
        method: Method = "hybrid",
        exclude: Sequence[str] = (),
        encode_limit: int | None = None,
        deadline: Deadline | None = None,
        report: Callable[[Ranking], None] | None = None,
    ) -> tuple[NDArray[np.int64], Ranking]:
        """Retrieve a collection's nearest passages and rank them: their (n,) positions, and the ranking of those."""
        check_encoder(collection, self.encoder)
        work = _Work(query, method, exclude, encode_limit, deadline or Deadline(), report)
        question = self._ask(work, math.inf)  # without it nothing is found
        with self._processor(work), work.watch("retrieve"):
            positions, _ = collection.search(question.pooled[0], candidates)
            found = FoundPassages(positions, collection)
        with self._processor(work), work.watch("prescore"):
            lexical = bm25(work.terms, found.terms)
        self._begin(work, lexical)
        return positions, self._rank(work, question, found, lexical)

    def warm_up(self) -> None:
        """Compile what will run and learn what it costs, so that the first request is as fast as the hundredth."""
        self.source.shared_encoder.warm_up()
        forgetful = StateSource(self.encoder)
        documents = [" ".join(f"word{i} number{j}" for j in range(i + 1)) for i in range(100)]
        for _ in range(3):
            self._pace.cost = 0.0  # what the last time took is what counts
            work = _Work("word number", "hybrid")
            question = forgetful.ask([work.query], math.inf, work.deadline)
            found = SentDocuments(documents, forgetful)
            self._rank(work, question, found, bm25(work.terms, found.terms))

    @contextmanager
    def _processor(self, work: _Work) -> Iterator[None]:
        """Wait for a processor to compute on."""
        begun = time.monotonic()
        with self._turns.turn():
            work.watch.add("wait", time.monotonic() - begun)
            work.deadline.check()
            yield

    def _ask(self, work: _Work, until: float) -> Encoded:
        """States of the query, at 0, and of what it excludes; none at all if they cannot be had in time."""
        with work.watch("encode_query"):
            return self.source.ask([work.query, *work.exclude], until, work.deadline)

    def _begin(self, work: _Work, lexical: NDArray[np.float64]) -> None:
        """Report the ranking by the pre-score, before anything is encoded."""
        if work.report:
            work.report(_ranking(work, by_prescore(lexical), {"lexical": lexical}))

    def _rank(self, work: _Work, question: Encoded, candidates: Candidates, lexical: NDArray[np.float64]) -> Ranking:
        promising = ranking(lexical)[: work.encode_limit]
        if not len(question):
            work.cut = True
            return _ranking(work, by_prescore(lexical), {"lexical": lexical})
        work.asked = int(question.lengths.sum())
        scorer = Scorer(self.feature_map, self.fusion, work.method, question, work.watch, self._turns)
        told = work.report is not None
        for part in parts(candidates, promising, work.terms, work.deadline, self._pace, work.watch, small=told):
            work.cut = part.unread
            if not len(part.chunks):
                continue
            with self._processor(work):
                # Put together only now: requests that wait for a processor hold no copies.
                with work.watch("join"):
                    states = candidates.states(part.chunks)
                scorer.put(part.number, part.owners, states)
            if part.more and work.report:
                work.report(self._scored(work, scorer, candidates, lexical))
        last = self._scored(work, scorer, candidates, lexical)
        if not told:  # what reports cost is not what scoring does
            self._pace.learn(work.watch.ms, scorer.texts)
        return last

    def _scored(self, work: _Work, scorer: Scorer, candidates: Candidates, lexical: NDArray[np.float64]) -> Ranking:
        """The ranking by what was read so far."""
        with self._processor(work):
            scores, rankers = scorer.scores(lexical, candidates.texts)
            return _ranking(work, scores, rankers, scorer.encoded, scorer.tokens)


def _ranking(
    work: _Work,
    scores: NDArray[np.float64],
    rankers: Mapping[str, NDArray[np.float64]],
    encoded: int = 0,
    tokens: int = 0,
) -> Ranking:
    order, ms = ranking(scores), dict(work.watch.ms)  # a copy: the work goes on
    return Ranking(order, scores, rankers, encoded, work.cut, work.asked + tokens, ms)
