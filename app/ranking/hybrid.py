"""How `hybrid` fuses its rankers: an algorithm, weights, smoothing and feedback; docs/evaluation.md has the figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from retrieval.fusion.algorithms import DEFAULT, Algorithm, Fitted, feedback, fuse, smooth
from retrieval.fusion.normalization import finite, zscore
from retrieval.fusion.weights import by_agreement, by_spread
from retrieval.text.characters import BEGINNING

Vector = NDArray[np.float64]
Weighting = Literal["type", "fixed", "equal", "spread", "agreement"]

RANKERS = ("classical", "quantum", "lexical")  # rows of scores, in this order
# Of the default model, on all queries of the seven development collections in English.
_FITTED = Fitted((9.72, 20.8, 0.125), (-4.57, -3.42, -1.06), (0.554, 0.399, 0.656))
_FEEDBACK_TOP = 3  # documents
_TEXT, _CODE = 0.05, 0.09  # shares of symbols
_PROGRAM = 0.12  # that of a program on average; a table or a line of dots has up to 1, and counts as one program


@dataclass(frozen=True)
class Weights:
    """Weights of the rankers, and how much of the fused score is smoothed over similar documents."""

    classical: float = 0.5
    quantum: float = 1.0
    lexical: float = 1.0
    smoothed: float = 0.9

    def towards(self, other: Weights, share: float) -> Weights:
        """Return the weights between these (share 0) and others (1)."""
        return Weights(*((1 - share) * a + share * b for a, b in zip(self.values(), other.values(), strict=True)))

    def values(self) -> tuple[float, float, float, float]:
        """Return all four."""
        return self.classical, self.quantum, self.lexical, self.smoothed


@dataclass(frozen=True)
class Fusion:
    """How rankers are fused.

    weighting: `type`: between `text` and `code`, by how much the candidates look like programs; `fixed`: `text`
    whatever they are; `equal`; `spread` and `agreement`: as `type`, times how sure each ranker is of this query.
    feedback: the share of the similarity to the best three in the score.
    """

    text: Weights = Weights()
    code: Weights = Weights(1.0, 0.5, 0.3, 0.0)  # tokens of programs say less one by one
    ridge: float = 1.0  # how much neighbours lend each other
    algorithm: Algorithm = DEFAULT
    weighting: Weighting = "type"
    feedback: float = 0.0
    fitted: Fitted = _FITTED

    def __post_init__(self) -> None:
        """ValueError for an unknown weighting; `fuse` tells of an unknown algorithm."""
        if self.weighting not in get_args(Weighting):
            raise ValueError(f"unknown weighting {self.weighting!r}; choose one of {', '.join(get_args(Weighting))}")

    @property
    def is_linear(self) -> bool:
        """Whether the fused score is a weighted sum of what each ranker adds; see `parts`."""
        return self.algorithm == "weighted" and not self.feedback

    def fuse(self, scores: Vector, code: float, gram: Callable[[], Vector]) -> Vector:
        """Fuse the scores of the three rankers for n documents.

        Args:
            scores: (3, n), finite, in the order of `RANKERS`.
            code: How much the documents look like programs, 0 to 1.
            gram: Computes their (n, n) similarities; called where a stage needs them.

        Returns:
            (n,) scores, about as far apart as z-scores are.
        """
        weights = self._typed(code)
        fused = fuse(self.algorithm, finite(scores), self._weights(scores, weights), self.fitted)
        if self.algorithm != "weighted":
            fused = zscore(fused)
        kernel = gram() if weights.smoothed or self.feedback else None
        fused = self._smoothed(fused, weights.smoothed, kernel)
        if kernel is not None and self.feedback:
            fused = feedback(kernel, fused, _FEEDBACK_TOP, self.feedback)
        return fused

    def parts(self, scores: Vector, code: float, gram: Callable[[], Vector]) -> tuple[Vector, Vector]:
        """Return what each ranker adds at weight 1, (3, n), and the (3,) weights; arguments as for `fuse`.

        Smoothing is linear: smoothed scores can be weighted once more, with other weights.
        """
        weights = self._typed(code)
        kernel = gram() if weights.smoothed else None
        parts = np.array([self._smoothed(zscore(each), weights.smoothed, kernel) for each in finite(scores)])
        return parts, self._weights(scores, weights)

    def _typed(self, code: float) -> Weights:
        return self.text if self.weighting == "fixed" else self.text.towards(self.code, code)

    def _smoothed(self, scores: Vector, share: float, kernel: Vector | None) -> Vector:
        """The (n,) scores, a share of them smoothed over similar documents."""
        if kernel is None or not share:
            return scores
        return share * smooth(kernel, scores, self.ridge) + (1 - share) * scores

    def _weights(self, scores: Vector, weights: Weights) -> Vector:
        given = np.array(weights.values()[: len(RANKERS)])
        if self.weighting == "equal":
            return np.ones(len(RANKERS))
        if self.weighting in {"type", "fixed"}:
            return given
        sure = given * (by_spread(scores) if self.weighting == "spread" else by_agreement(scores))
        return sure if sure.any() else given


def code_share(symbols: Vector, characters: NDArray[np.int64]) -> float:
    """How much n documents look like programs together, 0 (text) to 1.

    A short one counts as little as it says, and none for more than a program: a table makes no programs of the others.

    Args:
        symbols: (n,) shares of symbols at their beginnings, NaN of empty ones.
        characters: (n,) their lengths in code points.
    """
    looked_at = np.minimum(characters, BEGINNING)
    share = float(looked_at @ np.minimum(np.nan_to_num(symbols), _PROGRAM)) / max(1, int(looked_at.sum()))
    return min(1.0, max(0.0, (share - _TEXT) / (_CODE - _TEXT)))
