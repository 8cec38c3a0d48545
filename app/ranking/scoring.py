"""From states to scores: each ranker's own, then one for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.ranking.cpu_slots import CpuSlots
from app.ranking.job import Stopwatch
from app.ranking.methods import Method
from quantum.feature_maps import FeatureMap
from quantum.kernel import gram
from quantum.maxsim import score_documents
from quantum.negation import negation_scores
from retrieval.encoder.states import Encoded
from retrieval.fusion import fuse, smooth


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
class _Part:
    """What is kept of c texts once their tokens are scored."""

    owners: NDArray[np.int64]  # (c,) the documents they belong to
    pooled: NDArray[np.float32]  # (c, P)
    rankers: Mapping[str, NDArray[np.float64]]  # (c,) each
    tokens: int


class Scorer:
    """Takes the states of one request's documents part by part, and keeps of each text its pooled vector only."""

    def __init__(
        self,
        feature_map: FeatureMap,
        fusion: Fusion,
        method: Method,
        question: Encoded,
        watch: Stopwatch,
        slots: CpuSlots | None = None,
    ) -> None:
        """question: the states of the query, at 0, and of what it excludes. slots: whose idle processors may help."""
        self._over = slots.map if slots else map
        self._feature_map, self._fusion, self._method, self._watch = feature_map, fusion, method, watch
        self._query, self._excluded = question.pooled[0], question.pooled[1:]
        self._query_tokens = question.take([0]).tokens
        self._weights = fusion.weights(method, excluding=len(question) > 1)
        self._parts: dict[int, _Part] = {}

    def put(self, part: int, owners: NDArray[np.int64], states: Encoded) -> None:
        """Score c texts by their states, in the place of what was put as this part before.

        owners: (c,) positions of the documents they belong to. A product of matrices rounds a row otherwise when other
        rows stand beside it; so a part that comes in pieces is put whole each time, and its last scores are those that
        it would have got at once.
        """
        rankers = {}
        if "classical" in self._weights:
            with self._watch("classical"):
                rankers["classical"] = self._cosines(states.pooled)
        if "quantum" in self._weights:
            with self._watch("quantum"):
                rankers["quantum"] = score_documents(
                    self._feature_map, self._query_tokens, states.tokens, states.offsets, self._over
                )
        self._parts[part] = _Part(owners, states.pooled, rankers, int(states.lengths.sum()))

    @property
    def encoded(self) -> int:
        """Documents of which a text was put."""
        return len(np.unique(np.concatenate([part.owners for part in self._parts.values()]))) if self._parts else 0

    @property
    def texts(self) -> int:
        """Texts that were put."""
        return sum(len(part.owners) for part in self._parts.values())

    @property
    def tokens(self) -> int:
        """Tokens that the encoder read or once read for what was put."""
        return sum(part.tokens for part in self._parts.values())

    def scores(
        self, lexical: NDArray[np.float64], texts: Sequence[str]
    ) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        """One score in [0, 1] for each of n documents and each ranker's own, NaN for a document without states.

        lexical: (n,) BM25 scores, by which documents without states stand below the others.
        """
        if not self._parts:
            return by_prescore(lexical), {"lexical": lexical}
        with self._watch("fuse"):
            chosen, pooled, rankers = self._best()
            rankers = {"lexical": lexical[chosen], **rankers}
            scores, rankers = _place(chosen, self._relevance(rankers, pooled), rankers, lexical)
            # Equal texts get equal scores to the last bit, wherever a matrix product rounded them differently.
            return scores[_first_occurrences(texts)], rankers

    def _best(self) -> tuple[NDArray[np.int64], NDArray[np.float32], dict[str, NDArray[np.float64]]]:
        """The (m,) documents by position, the (m, P) pooled vectors of each one's best text, each ranker's (m,) best.

        By position, so that no sum depends on the order in which they were read.
        """
        parts = list(self._parts.values())
        owners = np.concatenate([part.owners for part in parts])
        rankers = {name: np.concatenate([part.rankers[name] for part in parts]) for name in parts[0].rankers}
        order = np.lexsort((-rankers["quantum" if "quantum" in rankers else "classical"], owners))
        chosen, first = np.unique(owners[order], return_index=True)
        pooled = np.concatenate([part.pooled for part in parts])[order[first]]
        return chosen, pooled, {name: np.maximum.reduceat(of[order], first) for name, of in rankers.items()}

    def _cosines(self, pooled: NDArray[np.float32]) -> NDArray[np.float64]:
        if len(self._excluded):
            return negation_scores(self._query, self._excluded, pooled)
        # Rounding leaves a unit vector's product with itself a little over 1.
        cosines: NDArray[np.float64] = np.clip((pooled @ self._query).astype(np.float64), -1, 1)
        return cosines

    def _relevance(
        self, rankers: Mapping[str, NDArray[np.float64]], pooled: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """One score in [0, 1] a document: (1 + cos)/2, a fidelity, or the logistic of fused z-scores."""
        if len(self._weights) == 1:
            scores = rankers[self._method]
            return (1 + scores) / 2 if self._method == "classical" else scores
        fused = fuse({name: rankers[name] for name in self._weights}, self._weights)
        if self._method == "hybrid":
            fused = smooth(gram(self._feature_map, pooled), fused, self._fusion.ridge)
        relevance: NDArray[np.float64] = 1 / (1 + np.exp(-fused))
        return relevance


def by_prescore(lexical: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores in [0, 1) in the order of (n,) BM25 scores b ≥ 0: b/(1 + b)."""
    return lexical / (1 + lexical)


def _first_occurrences(texts: Sequence[str]) -> NDArray[np.int64]:
    """For each of n texts the position of the first like it, (n,)."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(text, at) for at, text in enumerate(texts)], dtype=np.int64)


def _place(
    chosen: NDArray[np.int64],
    scores: NDArray[np.float64],
    rankers: Mapping[str, NDArray[np.float64]],
    lexical: NDArray[np.float64],
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Put m scored documents in their places among n, the others below them in pre-score order.

    A document without states gets the lowest score of the others times that of its pre-score: below, in order.
    """
    everywhere = scores.min() * by_prescore(lexical)
    everywhere[chosen] = scores
    placed = {name: np.full(len(lexical), np.nan) for name in rankers}
    for name, values in rankers.items():
        placed[name][chosen] = values
    return everywhere, placed | {"lexical": lexical}
