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

from retrieval.fusion.normalization import finite, min_max, ranking, zscore

Vector = NDArray[np.float64]
DearRanker = Callable[[NDArray[np.int64]], NDArray[Any]]  # (k,) positions, the most promising first: (k,) scores


def reorder(scores: NDArray[Any], read: NDArray[Any], weight: float = 1.0) -> Vector:
    """Add z-scores of the dear ranker to those of the cheap ones among what it read, within the range of their scores.

    So none of what was read falls below what stood below all of it, and the rest stays where it was.

    Args:
        scores: (n,) by the cheap rankers.
        read: (n,) by the dear one, NaN where it did not read.
        weight: Of the dear one's z-scores.
    """
    changed, known = finite(scores).copy(), np.isfinite(read)
    if np.count_nonzero(known) > 1:
        low, high = changed[known].min(), changed[known].max()
        both = min_max(zscore(changed[known]) + weight * zscore(read[known]))
        changed[known] = low + ((high - low) or 1.0) * both
    return changed


def sequential(scores: NDArray[Any], dear: DearRanker, k: int) -> Vector:
    """Return (n,) z-scores of the cheap rankers, of which the dear one read the best k; see `reorder`.

    A missing score of the dear one, NaN, leaves its document where it was: a reader that ran out of time gives as many
    as it has.
    """
    fused = zscore(scores)
    best, read = ranking(fused)[:k], np.full(len(fused), np.nan)
    if len(best) > 1:
        read[best] = dear(best)
    return reorder(fused, read)


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
