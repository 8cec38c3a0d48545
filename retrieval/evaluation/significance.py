"""A paired randomisation test for the difference between two rankings, and the correction for many such tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 20  # random signs in memory at once


@dataclass(frozen=True)
class Paired:
    """The mean difference, and its p-value under the hypothesis that the rankings do not differ."""

    delta: float
    p: float


def paired_test(a: NDArray[Any], b: NDArray[Any], permutations: int = 10_000, seed: int = 0) -> Paired:
    """Two-sided paired randomisation test of the mean difference.

    If the rankings do not differ, the sign of each query's difference is random: p is the share of random sign flips
    whose mean is at least as far from 0 as the observed one (Smucker, Allan & Carterette 2007,
    DOI 10.1145/1321440.1321528). The observed one is included (+1 in numerator and denominator), so p is never 0.

    Args:
        a: (n,) metric values of one ranking, n ≥ 1.
        b: (n,) metric values of the other ranking for the same queries in the same order.
        permutations: Random sign flips, at least 1.
        seed: Seed of the random generator; the same seed gives the same p.

    Returns:
        delta = mean(a − b), and p in (0, 1].

    Raises:
        ValueError: Shapes differ, n = 0, a value is not finite, or permutations < 1.
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)  # (n,)
    if np.shape(a) != np.shape(b) or difference.ndim != 1 or not difference.size:
        raise ValueError(f"the test needs two vectors over the same queries, got {np.shape(a)} and {np.shape(b)}")
    if not np.isfinite(difference).all():
        raise ValueError("non-finite value: each query needs a number from both rankings")
    if permutations < 1:
        raise ValueError(f"the test needs at least one permutation, got {permutations}")
    total = difference.sum()
    # Sums in another order round differently: without this tolerance, flips equal to the observed one would be missed.
    threshold = abs(total) - 1e-12 * np.abs(difference).sum()
    rng = np.random.default_rng(seed)
    extreme, block = 0, max(1, _BLOCK // difference.size)
    for start in range(0, permutations, block):
        shape = (min(block, permutations - start), difference.size)
        flips = rng.integers(0, 2, size=shape, dtype=np.int8).astype(np.float64)  # (block, n), 1 where the sign flips
        extreme += int(np.count_nonzero(np.abs(total - 2 * (flips @ difference)) >= threshold))
    return Paired(float(total / difference.size), (extreme + 1) / (permutations + 1))


def holm(p: Sequence[float]) -> list[float]:
    """Correct the p-values of m tests so that the chance of any false discovery stays below the level (Holm 1979).

    The i-th smallest is multiplied by m − i + 1, is at least as large as those before it, and at most 1.
    Returns them in the order that was given. ValueError for a p outside of [0, 1].
    """
    if not all(0 <= value <= 1 for value in p):
        raise ValueError(f"a p-value lies in [0, 1]; got {[value for value in p if not 0 <= value <= 1]}")
    rising = np.argsort(np.asarray(p, dtype=np.float64), kind="stable")
    factors = np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[rising] = np.minimum(1.0, np.maximum.accumulate(factors * np.asarray(p, dtype=np.float64)[rising]))
    return [float(value) for value in corrected]
