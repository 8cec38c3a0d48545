"""From states to scores: each ranker's own, then one for all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.ranking.job import Scores, Stopwatch
from app.ranking.methods import Method
from quantum.feature_maps import FeatureMap
from quantum.kernel import gram
from quantum.maxsim import score_documents
from quantum.negation import negation_scores
from retrieval.encoder.states import Encoded
from retrieval.fusion import fuse, smooth

Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]  # the built-in `map`, or one like it


@dataclass(frozen=True)
class Fusion:
    """Weights of the rankers' z-scores, and how much neighbours lend each other; see docs/evaluation.md."""

    classical: float = 0.5
    quantum: float = 1.0
    lexical: float = 1.0
    ridge: float = 1.0

    def weights(self, method: Method, *, excluding: bool) -> dict[str, float]:
        """The weight of each ranker that a method uses.

        Only the cosine honours exclusions, so with one it weighs as much as all other rankers together.
        """
        weights = {"classical": self.classical, "quantum": self.quantum, "lexical": self.lexical}
        if method != "hybrid":
            weights = {method: 1.0}
        if excluding:
            weights["classical"] = sum(w for name, w in weights.items() if name != "classical") or 1.0
        return weights


@dataclass(frozen=True)
class _Part:
    """What is kept of c chunks once their tokens are scored."""

    owners: NDArray[np.int64]  # (c,) the documents that the chunks belong to
    pooled: NDArray[np.float32]  # (c, P)
    rankers: Mapping[str, NDArray[np.float64]]  # (c,) each
    tokens: int


@dataclass
class Scorer:
    """Scores the chunks of one request part by part, and keeps only the pooled vector of each chunk."""

    feature_map: FeatureMap
    fusion: Fusion
    method: Method
    question: Encoded  # states of the query, at 0, and of the excluded texts
    watch: Stopwatch
    map: Map = map  # or one that uses idle processors
    parts: dict[int, _Part] = field(default_factory=dict)

    def put(self, part: int, owners: NDArray[np.int64], states: Encoded) -> None:
        """Score c chunks by their states. They replace what was put as this part before.

        owners: (c,) positions of the documents they belong to. A product of matrices rounds a row differently when
        other rows stand beside it. So a part that comes in pieces is put whole each time: its last scores are those
        that it would have got at once.
        """
        question, rankers = self.question, {}
        weights = self.fusion.weights(self.method, excluding=len(question.pooled) > 1)
        if "classical" in weights:
            with self.watch("classical"):
                rankers["classical"] = _cosines(question.pooled, states.pooled)
        if "quantum" in weights:
            with self.watch("quantum"):
                query_tokens = question.tokens[: question.offsets[1]]
                rankers["quantum"] = score_documents(
                    self.feature_map, query_tokens, states.tokens, states.offsets, self.map
                )
        self.parts[part] = _Part(owners, states.pooled, rankers, int(states.lengths.sum()))

    def scores(self, lexical: NDArray[np.float64], texts: Sequence[str]) -> Scores:
        """One score for each of n documents, and each ranker's own.

        lexical: (n,) BM25 scores. A document without states gets the lowest score of the others times that of its
        pre-score, so it stands below them, in pre-score order.
        """
        if not self.parts:
            return Scores(prescores(lexical), {"lexical": lexical})
        with self.watch("fuse"):
            chosen, pooled, best = self._best()
            relevance = self._relevance({"lexical": lexical[chosen], **best}, pooled)
            fused = relevance.min() * prescores(lexical)
            fused[chosen] = relevance
            rankers = {name: np.full(len(lexical), np.nan) for name in best}
            for name, values in best.items():
                rankers[name][chosen] = values
            # Equal texts get equal scores to the last bit, wherever a matrix product rounded them differently.
            first: dict[str, int] = {}
            fused = fused[[first.setdefault(text, at) for at, text in enumerate(texts)]]
            counts = [(part.tokens, len(part.owners)) for part in self.parts.values()]
            return Scores(fused, rankers | {"lexical": lexical}, len(chosen), *map(sum, zip(*counts, strict=True)))

    def _best(self) -> tuple[NDArray[np.int64], NDArray[np.float32], dict[str, NDArray[np.float64]]]:
        """The (m,) documents by position, (m, P) pooled vectors of each one's best chunk, each ranker's (m,) best.

        By position, so that no sum depends on the order in which documents were read.
        """
        parts = list(self.parts.values())
        owners = np.concatenate([part.owners for part in parts])
        rankers = {name: np.concatenate([part.rankers[name] for part in parts]) for name in parts[0].rankers}
        order = np.lexsort((-rankers["quantum" if "quantum" in rankers else "classical"], owners))
        chosen, first = np.unique(owners[order], return_index=True)
        pooled = np.concatenate([part.pooled for part in parts])[order[first]]
        return chosen, pooled, {name: np.maximum.reduceat(values[order], first) for name, values in rankers.items()}

    def _relevance(
        self, rankers: Mapping[str, NDArray[np.float64]], pooled: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """One score in [0, 1] a document: (1 + cos)/2, a fidelity, or the logistic of fused z-scores."""
        weights = self.fusion.weights(self.method, excluding=len(self.question.pooled) > 1)
        if len(weights) == 1:
            scores = rankers[self.method]
            return (1 + scores) / 2 if self.method == "classical" else scores
        fused = fuse({name: rankers[name] for name in weights}, weights)
        if self.method == "hybrid":
            fused = smooth(gram(self.feature_map, pooled), fused, self.fusion.ridge)
        relevance: NDArray[np.float64] = 1 / (1 + np.exp(-fused))
        return relevance


def _cosines(question: NDArray[np.float32], pooled: NDArray[np.float32]) -> NDArray[np.float64]:
    """The (c,) cosines of chunks with the query, question[0], less what the excluded texts, its other rows, take."""
    if len(question) > 1:
        return negation_scores(question[0], question[1:], pooled)
    # Rounding leaves a unit vector's product with itself a little over 1.
    cosines: NDArray[np.float64] = np.clip((pooled @ question[0]).astype(np.float64), -1, 1)
    return cosines


def prescores(lexical: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores in [0, 1) in the order of (n,) BM25 scores b ≥ 0: b/(1 + b)."""
    return lexical / (1 + lexical)
