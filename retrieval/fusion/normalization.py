"""Normalization: what makes the scores of different rankers comparable, and the order that scores give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Normalization = Callable[[NDArray[np.float64]], NDArray[np.float64]]

# Rankers compute in float32: a relative spread below this is rounding error and must not be amplified.
_RESOLUTION = 1e-6


def zscore(x: NDArray[Any]) -> NDArray[np.float64]:
    """Centre (n,) scores and scale them to standard deviation 1.

    Returns (n,) float64; all 0 if the standard deviation is at most 1e-6 of the largest absolute score. ValueError if
    a score is not finite.
    """
    values = finite(x)
    peak = np.abs(values).max(initial=0.0)
    if peak == 0:
        return np.zeros_like(values)
    scaled = values / peak  # in [-1, 1], so that no square overflows
    spread = scaled.std()
    if spread <= _RESOLUTION:
        return np.zeros_like(values)
    standardised: NDArray[np.float64] = (scaled - scaled.mean()) / spread
    return standardised


def min_max(x: NDArray[Any]) -> NDArray[np.float64]:
    """Shift and scale (n,) scores to [0, 1]: the lowest gets 0, the highest 1.

    Returns (n,) float64; all 0 if their range is at most 1e-6 of the largest absolute score. ValueError if a score is
    not finite.
    """
    values = finite(x)
    peak = np.abs(values).max(initial=0.0)
    scaled = values / (peak or 1.0)  # in [-1, 1], so that no difference overflows
    low, high = scaled.min(initial=1.0), scaled.max(initial=-1.0)
    if high - low <= _RESOLUTION:
        return np.zeros_like(values)
    shifted: NDArray[np.float64] = (scaled - low) / (high - low)
    return shifted


def ranks(x: NDArray[Any]) -> NDArray[np.float64]:
    """Return the ranks (n,) of (n,) scores from 1, the best; equal scores share the mean of their ranks.

    So the order of input, which is no evidence, does not count. Scores may be infinite, but not NaN.
    """
    _, group, sizes = np.unique(-np.asarray(x, dtype=np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    shared: NDArray[np.float64] = (last - (sizes - 1) / 2)[group]
    return shared


def by_ranker(normalize: Normalization, scores: NDArray[np.float64], missing: float = 0.0) -> NDArray[np.float64]:
    """Normalize each row of (r, n) scores over the documents that it has scores for; the others, NaN, get `missing`."""
    normalized = np.full(scores.shape, missing)
    for row, out in zip(scores, normalized, strict=True):
        known = ~np.isnan(row)
        out[known] = normalize(row[known])
    return normalized


def ranking(scores: NDArray[Any]) -> NDArray[np.int64]:
    """Return the positions (n,) int64 of (n,) scores, best first, ties in input order. ValueError if not finite."""
    return np.argsort(-finite(scores), kind="stable").astype(np.int64, copy=False)


def first_of_each(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions (g,), rising, at which each of the g groups of (n,) items comes first."""
    return np.sort(np.unique(groups, return_index=True)[1])


def finite(x: NDArray[Any]) -> NDArray[np.float64]:
    """Return the numbers as float64; ValueError that names the first one that is not finite."""
    values = np.asarray(x, dtype=np.float64)
    non_finite = np.argwhere(~np.isfinite(values))
    if non_finite.size:
        raise ValueError(f"non-finite score at {non_finite[0].tolist()}; fix the ranker that returned it")
    return values
