"""Modes: how a dear ranker joins cheap ones.

Parallel: it scores all candidates, and is one more row in `retrieval.fusion.algorithms`. Sequential: it scores the best
k by the cheap ones alone (Wang, Lin & Metzler 2011, "A cascade ranking model", DOI 10.1145/2009916.2009934). Adaptive:
it does so only where the cheap ones leave the order unsettled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.fusion.normalization import finite, ranking, zscore

Vector = NDArray[np.float64]
DearRanker = Callable[[NDArray[np.int64]], NDArray[Any]]  # (k,) positions, the most promising first: (k,) scores


def sequential(scores: NDArray[Any], dear: DearRanker, k: int) -> Vector:
    """Return (n,) scores in which the best k stand in the order of their summed z-scores by both, above the rest.

    scores: (n,) by the cheap rankers. A missing score of the dear one, NaN, leaves its document where the cheap ones
    put it among those k: a reader that ran out of time gives as many as it has.
    """
    fused = zscore(scores)
    best = ranking(fused)[:k]
    if len(best) < 2:
        return fused
    read = np.asarray(dear(best), dtype=np.float64)
    known = ~np.isnan(read)
    both = zscore(fused[best])
    both[known] += zscore(read[known])
    fused[best] += both - both.min() + (fused[best].min() - fused[best])
    return fused


def adaptive(scores: NDArray[Any], dear: DearRanker, k: int, margin: float) -> Vector:
    """Return what `sequential` does where the best k are nearer to each other than the margin, else the z-scores.

    margin: how many standard deviations the first must stand above the k-th for the order to be settled; 0 never asks
    the dear ranker, infinity always.
    """
    return sequential(scores, dear, k) if spread_of_best(scores, k) < margin else zscore(scores)


def spread_of_best(scores: NDArray[Any], k: int) -> float:
    """Return how many standard deviations of all (n,) scores lie between the first and the k-th, or the last."""
    best = -np.sort(-zscore(finite(scores)))[:k]
    return float(best[0] - best[-1]) if len(best) else 0.0
