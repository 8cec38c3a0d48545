"""The reranking pipeline: text in, order out. The one module that knows both libraries; it knows no HTTP.

>>> reranker = Reranker(encoder)
>>> reranker.rerank("which bird sings at night", ["an owl hunts mice", "the nightingale sings after dusk"]).order
array([1, 0])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from app.stopwatch import Stopwatch
from quantum.circuits import check_limits
from quantum.feature_maps import FeatureMap, feature_map
from quantum.fidelity import gram
from quantum.late_interaction import score_documents
from quantum.negation import negation_scores
from retrieval.collection import Collection, check_encoder
from retrieval.encoder import Encoder
from retrieval.encoding import Encoded
from retrieval.fusion import fuse, ranking, smooth
from retrieval.lexical import bm25, tokenize

Method = Literal["classical", "quantum", "hybrid"]
METHODS: tuple[Method, ...] = get_args(Method)

_BATCH = 100  # documents scored at once


@dataclass(frozen=True)
class Fusion:
    """Weights of the rankers' z-scores, and how much neighbours lend each other; see docs/evaluation.md."""

    classical: float = 0.5
    quantum: float = 1.0
    lexical: float = 1.0
    ridge: float = 1.0

    def weights(self, method: Method, *, excluding: bool) -> dict[str, float]:
        """The weight of each ranker that a method uses.

        An exclusion is heard by the pooled vectors only, so there they weigh as much as all deaf rankers together.
        """
        weights = {"classical": self.classical, "quantum": self.quantum, "lexical": self.lexical}
        if method != "hybrid":
            weights = {method: 1.0}
        if excluding:
            weights["classical"] = sum(w for name, w in weights.items() if name != "classical") or 1.0
        return weights


@dataclass(frozen=True)
class Ranking:
    """n documents ranked."""

    order: NDArray[np.int64]  # (n,) positions, best first
    scores: NDArray[np.float64]  # (n,) in input order, in [0, 1]
    rankers: Mapping[str, NDArray[np.float64]]  # (n,) each, in input order; NaN for a document that was not encoded
    encoded: int  # documents scored by their states; the rest stand below them in pre-score order
    tokens: int  # that the encoder read or once read for these states, the query's among them
    timings_ms: Mapping[str, float]


class Reranker:
    """Ranks documents for a query; holds no state between calls, so threads may share it."""

    def __init__(self, encoder: Encoder, states: FeatureMap | None = None, fusion: Fusion | None = None) -> None:
        """Take an encoder, a feature map (checked on its real circuit: `CircuitTooLarge`) and the fusion weights."""
        self.encoder = encoder
        self.feature_map = states or feature_map()
        self.fusion = fusion or Fusion()
        check_limits(self.feature_map)

    def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        method: Method = "hybrid",
        exclude: Sequence[str] = (),
        encode_limit: int | None = None,
    ) -> Ranking:
        """Rank n ≥ 1 documents for a query.

        exclude: what the answer must not be about. encode_limit: encode only so many documents, the most promising by
        BM25; the rest are ranked below them. ValueError for an empty query, no documents, or an unknown method.
        """
        watch = Stopwatch()
        question = self._ask(query, exclude, watch)

        def encode(chosen: NDArray[np.int64]) -> Encoded:
            texts = [documents[i] for i in chosen]
            unique = {text: at for at, text in enumerate(dict.fromkeys(texts))}
            return self.encoder.encode(list(unique)).take([unique[text] for text in texts])

        return self._rank(query, question, documents, encode, method, encode_limit, watch)

    def search(
        self,
        query: str,
        collection: Collection,
        *,
        candidates: int = 100,
        method: Method = "hybrid",
        exclude: Sequence[str] = (),
        encode_limit: int | None = None,
    ) -> tuple[NDArray[np.int64], Ranking]:
        """Retrieve a collection's nearest passages and rank them: their (n,) positions, and the ranking of those."""
        check_encoder(collection, self.encoder)
        watch = Stopwatch()
        question = self._ask(query, exclude, watch)
        with watch("retrieve"):
            positions, _ = collection.search(question.pooled[0], candidates)
            texts = [passage.content for passage in collection.passages(positions)]

        def states(chosen: NDArray[np.int64]) -> Encoded:
            return collection.states(positions[chosen])

        return positions, self._rank(query, question, texts, states, method, encode_limit, watch)

    def _ask(self, query: str, exclude: Sequence[str], watch: Stopwatch) -> Encoded:
        """States of the query, at 0, and of what it excludes."""
        for text in (query, *exclude):
            if not text.strip():
                raise ValueError("the query and the excluded texts must not be empty")
        with watch("encode_query"):
            return self.encoder.encode([query, *exclude], "query")

    def _rank(
        self,
        query: str,
        question: Encoded,
        documents: Sequence[str],
        encode: Callable[[NDArray[np.int64]], Encoded],
        method: Method,
        encode_limit: int | None,
        watch: Stopwatch,
    ) -> Ranking:
        if not documents:
            raise ValueError("there are no documents to rank")
        if method not in METHODS:
            raise ValueError(f"unknown method {method!r}; choose one of {', '.join(METHODS)}")
        if encode_limit is not None and encode_limit < 1:
            raise ValueError(f"encode_limit must be at least 1, or None for all; got {encode_limit}")
        with watch("prescore"):
            lexical = bm25(tokenize(query), [tokenize(text) for text in documents])
        promising = ranking(lexical)[:encode_limit]
        chosen = np.sort(promising)
        with watch("encode"):
            states = encode(chosen)
        weights = self.fusion.weights(method, excluding=len(question) > 1)
        rankers = self._score(question, states, lexical[chosen], weights, watch)
        with watch("fuse"):
            scores = self._relevance(method, rankers, weights, states)
            scores, rankers = _place(len(documents), chosen, scores, rankers, lexical)
            # Equal texts get equal scores to the last bit, wherever a matrix product rounded them differently.
            scores = scores[_first_occurrences(documents)]
        tokens = int(question.lengths.sum() + states.lengths.sum())
        return Ranking(ranking(scores), scores, rankers, len(chosen), tokens, watch.ms)

    def _score(
        self,
        question: Encoded,
        states: Encoded,
        lexical: NDArray[np.float64],
        weights: Mapping[str, float],
        watch: Stopwatch,
    ) -> dict[str, NDArray[np.float64]]:
        """Each needed ranker's scores of the encoded documents, (m,)."""
        query, excluded = question.pooled[0], question.pooled[1:]
        rankers = {"lexical": lexical}
        if "classical" in weights:
            with watch("classical"):
                if len(excluded):
                    rankers["classical"] = negation_scores(query, excluded, states.pooled)
                else:
                    # Rounding leaves a unit vector's product with itself a little over 1.
                    rankers["classical"] = np.clip((states.pooled @ query).astype(np.float64), -1, 1)
        if "quantum" in weights:
            with watch("quantum"):
                rankers["quantum"] = self._fidelity(question.take([0]).token_rows(), states)
        return rankers

    def _fidelity(self, query_tokens: NDArray[np.float32], states: Encoded) -> NDArray[np.float64]:
        batches = np.array_split(np.arange(len(states)), math.ceil(len(states) / _BATCH))
        return np.concatenate(
            [
                score_documents(self.feature_map, query_tokens, batch.token_rows(), batch.offsets)
                for batch in map(states.take, batches)
            ]
        )

    def _relevance(
        self,
        method: Method,
        rankers: Mapping[str, NDArray[np.float64]],
        weights: Mapping[str, float],
        states: Encoded,
    ) -> NDArray[np.float64]:
        """One score in [0, 1] a document: (1 + cos)/2, a fidelity, or the logistic of fused z-scores."""
        if len(weights) == 1:
            scores = rankers[method]
            return (1 + scores) / 2 if method == "classical" else scores
        fused = fuse({name: rankers[name] for name in weights}, weights)
        if method == "hybrid":
            fused = smooth(gram(self.feature_map, states.pooled), fused, self.fusion.ridge)
        relevance: NDArray[np.float64] = 1 / (1 + np.exp(-fused))
        return relevance


def _first_occurrences(documents: Sequence[str]) -> NDArray[np.int64]:
    """For each of n documents the position of the first with its text, (n,)."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(text, at) for at, text in enumerate(documents)], dtype=np.int64)


def _place(
    n: int,
    chosen: NDArray[np.int64],
    scores: NDArray[np.float64],
    rankers: Mapping[str, NDArray[np.float64]],
    lexical: NDArray[np.float64],
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Put m encoded documents' scores in their places among n, the others below them in pre-score order.

    A document that was not encoded gets the lowest encoded score times b/(1 + b) of its BM25 score b: below, in order.
    """
    everywhere = scores.min() * lexical / (1 + lexical)
    everywhere[chosen] = scores
    placed = {name: np.full(n, np.nan) for name in rankers}
    for name, values in rankers.items():
        placed[name][chosen] = values
    return everywhere, placed | {"lexical": lexical}
