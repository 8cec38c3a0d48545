"""From several rankers' scores to one order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Rankers work in float32: a relative spread below this is their rounding, and not a preference worth amplifying.
_RESOLUTION = 1e-6


def zscore(x: NDArray[Any]) -> NDArray[np.float64]:
    """Centre (n,) scores and scale them to standard deviation 1.

    Returns (n,) float64, all 0 where they spread by less than 1e-6 of the largest. ValueError for a non-finite score.
    """
    values = _finite(x)
    peak = np.abs(values).max(initial=0.0)
    if peak == 0:
        return np.zeros_like(values)
    scaled = values / peak  # in [-1, 1], so that no square overflows
    spread = scaled.std()
    if spread <= _RESOLUTION:
        return np.zeros_like(values)
    standard: NDArray[np.float64] = (scaled - scaled.mean()) / spread
    return standard


def fuse(scores: Mapping[str, NDArray[Any]], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Add the rankers' z-scores, each times its weight.

    scores: (n,) by ranker; a ranker without a weight is left out. Returns (n,) float64.
    ValueError for no weights, a weight whose ranker has no scores, lengths that differ, or anything non-finite.
    """
    missing = sorted(weights.keys() - scores.keys())
    if missing or not weights:
        raise ValueError(f"weights need rankers and rankers need scores; no scores for {missing}")
    shapes = {name: np.shape(scores[name]) for name in weights}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"rankers scored different documents: {shapes}")
    if not np.isfinite(list(weights.values())).all():
        raise ValueError(f"non-finite weight in {dict(weights)}")
    fused: NDArray[np.float64] = np.sum([w * zscore(scores[name]) for name, w in weights.items()], axis=0)
    return fused


def smooth(gram: NDArray[Any], scores: NDArray[Any], ridge: float) -> NDArray[np.float64]:
    """Let documents that resemble each other lend each other score: K (K + ridge·I)⁻¹ s, kernel ridge regression.

    Relevant documents cluster; Diaz 2005, "Regularizing ad hoc retrieval scores", DOI 10.1145/1099554.1099722, smooths
    scores over the graph of the documents' similarities. In the eigenbasis of K each component of s is scaled by
    κ/(κ + ridge): what similar documents agree on passes, what sets one apart from its like is damped.

    gram: (n, n) symmetric, positive semidefinite. scores: (n,). ridge > 0; near 0 it leaves s as it is where K has full
    rank. Returns (n,) float64. ValueError for shapes that disagree, ridge ≤ 0, or anything non-finite.
    """
    kernel, signal = _finite(gram), _finite(scores)
    n = signal.size
    if kernel.shape != (n, n) or signal.shape != (n,):
        raise ValueError(f"smoothing needs an (n, n) Gram matrix and (n,) scores, got {kernel.shape}, {signal.shape}")
    if not (np.isfinite(ridge) and ridge > 0):
        raise ValueError(f"the ridge must be positive and finite, got {ridge}")
    smoothed: NDArray[np.float64] = kernel @ np.linalg.solve(kernel + ridge * np.eye(n), signal)
    return smoothed


def ranking(scores: NDArray[Any]) -> NDArray[np.int64]:
    """Positions (n,) int64 of (n,) scores, best first, ties in input order. ValueError for a non-finite score."""
    return np.argsort(-_finite(scores), kind="stable").astype(np.int64, copy=False)


def _finite(x: NDArray[Any]) -> NDArray[np.float64]:
    values = np.asarray(x, dtype=np.float64)
    bad = np.argwhere(~np.isfinite(values))
    if bad.size:
        raise ValueError(f"non-finite score at {bad[0].tolist()}: the ranker that gave it is at fault")
    return values
