"""Is one ranking better than another, or was it luck with these queries?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 20  # signs held at once


@dataclass(frozen=True)
class Paired:
    """The mean difference and how likely one as large is if the two do not differ."""

    delta: float
    p: float


def paired_test(a: NDArray[Any], b: NDArray[Any], permutations: int = 10_000, seed: int = 0) -> Paired:
    """Two-sided paired randomisation test of the mean difference.

    If the two rankings were alike, each query's difference could as well have had the other sign: p is the share of
    random sign flips whose mean is at least as far from 0 as the one seen (Smucker, Allan & Carterette 2007,
    DOI 10.1145/1321440.1321528). The seen one counts among them (+1 above and below), so p is never 0.

    a, b: (n,) values of the same n ≥ 1 queries in the same order. Returns delta = mean(a − b) and p in (0, 1]; the same
    seed gives the same p. ValueError for shapes that disagree, n = 0, non-finite values or permutations < 1.
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)  # (n,)
    if np.shape(a) != np.shape(b) or difference.ndim != 1 or not difference.size:
        raise ValueError(f"the test needs two vectors over the same queries, got {np.shape(a)} and {np.shape(b)}")
    if not np.isfinite(difference).all():
        raise ValueError("non-finite value: each query needs a number from both rankings")
    if permutations < 1:
        raise ValueError(f"the test needs at least one permutation, got {permutations}")
    total = difference.sum()
    # Sums in another order round differently: without this slack, flips that equal the one seen would be missed.
    seen = abs(total) - 1e-12 * np.abs(difference).sum()
    rng = np.random.default_rng(seed)
    extreme, block = 0, max(1, _BLOCK // difference.size)
    for start in range(0, permutations, block):
        shape = (min(block, permutations - start), difference.size)
        flips = rng.integers(0, 2, size=shape, dtype=np.int8).astype(np.float64)  # (block, n), 1 where the sign turns
        extreme += int(np.count_nonzero(np.abs(total - 2 * (flips @ difference)) >= seen))
    return Paired(float(total / difference.size), (extreme + 1) / (permutations + 1))
