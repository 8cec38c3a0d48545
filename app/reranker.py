"""The reranking pipeline: text in, order out. It knows both libraries, and no HTTP.

>>> reranker = Reranker(encoder)
>>> reranker.rerank("which bird sings at night", ["an owl hunts mice", "the nightingale sings after dusk"]).order
array([1, 0])
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.candidates import Candidates, FoundPassages, SentDocuments
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

_BATCH = 100  # documents whose token states are held and scored at once
_LEARNING = 0.001  # weight of one document in the learned cost of scoring, up to those of one batch
_ANSWER_S = 0.01  # kept of a deadline for the way in and out
_FOR_ENCODING = 0.5  # of the time left, at least so much: a cost once learned too high must not stop all learning


@dataclass(frozen=True)
class Ranking:
    """n documents ranked."""

    order: NDArray[np.int64]  # (n,) positions, best first
    scores: NDArray[np.float64]  # (n,) in input order, in [0, 1]
    rankers: Mapping[str, NDArray[np.float64]]  # (n,) each, in input order; NaN for a document that was not encoded
    encoded: int  # documents scored by their states; the rest stand below them in pre-score order
    cut: bool  # whether the deadline left documents without states
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
    watch: Stopwatch = field(default_factory=Stopwatch)
    encoded: int = 0
    tokens: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"unknown method {self.method!r}; choose one of {', '.join(METHODS)}")
        if self.encode_limit is not None and self.encode_limit < 1:
            raise ValueError(f"encode_limit must be at least 1, or None for all; got {self.encode_limit}")
        if not all(text.strip() for text in (self.query, *self.exclude)):
            raise ValueError("the query and the excluded texts must not be empty")


class Reranker:
    """Ranks documents for a query. Threads may share it, and then share the encoder's passes and what is cached."""

    def __init__(
        self,
        source: Encoder | StateSource,
        states: FeatureMap | None = None,
        fusion: Fusion | None = None,
        processors: int = 1,
    ) -> None:
        """Take an encoder, or one with a cache, a feature map and the fusion weights.

        processors: threads that compute at once; the others wait, which is cheaper than interrupting each other.
        CircuitTooLarge for a feature map whose real circuit is.
        """
        self.source = source if isinstance(source, StateSource) else StateSource(source)
        self.feature_map = states or feature_map()
        self.fusion = fusion or Fusion()
        self._turns = Turns(processors)
        self._cost = 0.0  # seconds to score one document that has its states, learned
        self._wait = 0.0  # seconds that a request waits for processors, learned
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
    ) -> Ranking:
        """Rank n ≥ 1 documents for a query.

        exclude: what the answer must not be about. encode_limit: score only so many documents by their states, the most
        promising by BM25; the rest are ranked below them. deadline: the same, as many as there is time for.
        ValueError for an empty query, no documents, or an unknown method; Cancelled when the deadline is cancelled.
        """
        if not documents:
            raise ValueError("there are no documents to rank")
        work = _Work(query, method, exclude, encode_limit, deadline or Deadline())
        with self._processor(work), work.watch("prescore"):
            candidates = SentDocuments(documents, self.source)
        return self._rank(work, self._ask(work, work.deadline.at), candidates)

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
    ) -> tuple[NDArray[np.int64], Ranking]:
        """Retrieve a collection's nearest passages and rank them: their (n,) positions, and the ranking of those."""
        check_encoder(collection, self.encoder)
        work = _Work(query, method, exclude, encode_limit, deadline or Deadline())
        question = self._ask(work, math.inf)  # without it nothing is found
        with self._processor(work), work.watch("retrieve"):
            positions, _ = collection.search(question.pooled[0], candidates)
            found = FoundPassages(positions, collection)
        return positions, self._rank(work, question, found)

    def warm_up(self) -> None:
        """Compile what will run and learn what it costs, so that the first request is as fast as the hundredth."""
        self.source.shared_encoder.warm_up()
        forgetful = StateSource(self.encoder)
        documents = [" ".join(f"word{i} number{j}" for j in range(i + 1)) for i in range(_BATCH)]
        for _ in range(3):
            self._cost = 0.0  # what the last time took is what counts
            work = _Work("word number", "hybrid")
            self._rank(work, forgetful.ask([work.query], math.inf, work.deadline), SentDocuments(documents, forgetful))

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

    def _rank(self, work: _Work, question: Encoded, candidates: Candidates) -> Ranking:
        with self._processor(work), work.watch("prescore"):
            lexical = bm25(tokenize(work.query), candidates.terms)
            promising = ranking(lexical)[: work.encode_limit]
        if len(question):
            work.tokens += int(question.lengths.sum())
            scores, rankers = self._score(work, question, candidates, promising, lexical)
        else:
            scores, rankers = by_prescore(lexical), {"lexical": lexical}
        cut = work.encoded < len(promising)
        return Ranking(ranking(scores), scores, rankers, work.encoded, cut, work.tokens, work.watch.ms)

    def _score(
        self,
        work: _Work,
        question: Encoded,
        candidates: Candidates,
        promising: NDArray[np.int64],
        lexical: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        """Each document's score and each ranker's, (n,): batch by batch, so that memory does not grow with n."""
        scorer = Scorer(self.feature_map, self.fusion, work.method, question, work.watch, self._turns)
        for start in range(0, len(promising), _BATCH):
            batch, later = promising[start : start + _BATCH], promising[start + _BATCH :]
            to_score = work.encoded + len(batch) + np.count_nonzero(candidates.ready[later])
            with work.watch("encode"):
                until = self._encode_until(work.deadline, int(to_score))
                positions = candidates.encode(batch, until, work.deadline)
            if len(positions):
                with self._processor(work):
                    # Put together only now: requests that wait for a processor hold no copies.
                    with work.watch("join"):
                        states = candidates.states(positions)
                    scorer.add(positions, states)
                work.encoded += len(positions)
                work.tokens += int(states.lengths.sum())
        with self._processor(work):
            result = scorer.finish(lexical, candidates.texts)
        self._learn(work.watch.ms, work.encoded)
        return result

    def _encode_until(self, deadline: Deadline, to_score: int) -> float:
        """When encoding must end, in `time.monotonic()` seconds, for so many documents to be scored in time."""
        left = max(0.0, deadline.at - time.monotonic() - _ANSWER_S)
        reserve = min(self._wait + to_score * self._cost, left * (1 - _FOR_ENCODING))
        return deadline.at - _ANSWER_S - reserve

    def _learn(self, ms: Mapping[str, float], documents: int) -> None:
        self._wait += _LEARNING * _BATCH * (ms["wait"] / 1e3 - self._wait)
        if documents:
            seconds = sum(ms.get(stage, 0.0) for stage in ("join", "classical", "quantum", "fuse")) / 1e3
            weight = 1.0 if self._cost == 0 else _LEARNING * min(documents, _BATCH)
            self._cost += weight * (seconds / documents - self._cost)
