"""Score fusion: z-scores, weighted sums, smoothing and ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Rankers compute in float32: a relative spread below this is rounding error and must not be amplified.
_RESOLUTION = 1e-6


def zscore(x: NDArray[Any]) -> NDArray[np.float64]:
    """Centre (n,) scores and scale them to standard deviation 1.

    Returns (n,) float64; all 0 if the standard deviation is at most 1e-6 of the largest absolute score. ValueError if
    a score is not finite.
    """
    values = _finite(x)
    peak = np.abs(values).max(initial=0.0)
    if peak == 0:
        return np.zeros_like(values)
    scaled = values / peak  # in [-1, 1], so that no square overflows
    spread = scaled.std()
    if spread <= _RESOLUTION:
        return np.zeros_like(values)
    standardised: NDArray[np.float64] = (scaled - scaled.mean()) / spread
    return standardised


def fuse(scores: Mapping[str, NDArray[Any]], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Return the weighted sum of the rankers' z-scores, (n,) float64.

    scores: (n,) by ranker; rankers without a weight are ignored. weights: by ranker.
    ValueError without weights, for a weight without scores, different lengths, or a non-finite number.
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


def first_of_each(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions (g,), rising, at which each of the g groups of (n,) items comes first."""
    return np.sort(np.unique(groups, return_index=True)[1])


def reciprocal_rank(
    rankings: Sequence[NDArray[np.int64]], weights: Sequence[float], constant: float = 60.0
) -> NDArray[np.int64]:
    """Fuse rankings by Σ weight / (constant + rank), rank from 1: the (m,) distinct items, best first, ties by item.

    Cormack, Clarke & Büttcher 2009, DOI 10.1145/1571941.1572114. rankings: (r,) distinct items each, best first; what
    one does not hold gets nothing from it. weights: one each, ≥ 0; a ranking of weight 0 adds no items.
    """
    kept = [(items, weight) for items, weight in zip(rankings, weights, strict=True) if weight > 0 and len(items)]
    if not kept:
        return np.empty(0, dtype=np.int64)
    different, of = np.unique(np.concatenate([items for items, _ in kept]), return_inverse=True)
    parts = [weight / (constant + 1 + np.arange(len(items))) for items, weight in kept]
    scores = np.bincount(of, np.concatenate(parts))
    return different[ranking(scores)]


def smooth(gram: NDArray[Any], scores: NDArray[Any], ridge: float) -> NDArray[np.float64]:
    """Smooth scores over similar documents with kernel ridge regression: K (K + ridge·I)⁻¹ s.

    Relevant documents cluster (Diaz 2005, "Regularizing ad hoc retrieval scores", DOI 10.1145/1099554.1099722). In the
    eigenbasis of K each component of s is scaled by κ/(κ + ridge), κ being its eigenvalue: scores on which similar
    documents agree are kept, deviations from similar documents are damped.

    Args:
        gram: K, (n, n), symmetric and positive semidefinite.
        scores: s, (n,).
        ridge: Above 0; near 0 it leaves s unchanged if K has full rank.

    Returns:
        (n,) float64.

    Raises:
        ValueError: Shapes differ, ridge ≤ 0, or a number is not finite.
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
    """Return the positions (n,) int64 of (n,) scores, best first, ties in input order. ValueError if not finite."""
    return np.argsort(-_finite(scores), kind="stable").astype(np.int64, copy=False)


def _finite(x: NDArray[Any]) -> NDArray[np.float64]:
    values = np.asarray(x, dtype=np.float64)
    non_finite = np.argwhere(~np.isfinite(values))
    if non_finite.size:
        raise ValueError(f"non-finite score at {non_finite[0].tolist()}; fix the ranker that returned it")
    return values
