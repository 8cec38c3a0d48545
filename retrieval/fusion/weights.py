"""Weights of r rankers for one query, from what is known of them: (r,), at least 0.

Equal weights are None in `retrieval.fusion.algorithms`, fixed ones an array.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.fusion.normalization import by_ranker, zscore

Vector = NDArray[np.float64]

_TOP = 10  # documents whose scores show how sure a ranker is
_ROUNDING = 1e-9  # of a mean correlation
_AGREEMENT = 1.5  # a correlation of two thirds is as much agreement as rankers have that err in their own ways
_POWER = 2.0


def by_spread(scores: NDArray[Any], top: int = _TOP) -> Vector:
    """Weigh rankers by how far their best documents stand out: the mean z-score of each one's `top` best, at most half.

    A query on which scores hardly differ is one that the ranker cannot answer (Shtok et al. 2012, "Predicting query
    performance by query-drift estimation", DOI 10.1145/2180868.2180873, who take the deviation of the best scores).
    scores: (r, n), NaN where missing. A ranker whose scores are all equal gets 0.
    """
    standard = by_ranker(zscore, np.asarray(scores, dtype=np.float64))
    top = min(top, (standard.shape[1] + 1) // 2)  # the z-scores of all documents have the mean 0
    best: Vector = -np.sort(-standard, axis=1)[:, :top]
    return np.maximum(best.mean(axis=1), 0.0) if best.size else np.zeros(len(standard))


def by_agreement(scores: NDArray[Any]) -> Vector:
    """Weigh rankers by their agreement with the others: 1.5 times the mean correlation with each, from 0 to 1.

    A ranker that errs where others do not agrees with them least (Wu & McClean 2006, "Performance prediction of data
    fusion for information retrieval", DOI 10.1016/j.ipm.2005.08.004). scores: (r, n), NaN where missing.
    """
    standard = by_ranker(zscore, np.asarray(scores, dtype=np.float64))
    correlation = standard @ standard.T / max(1, standard.shape[1])
    mean: Vector = (correlation.sum(axis=1) - np.diag(correlation)) / max(1, len(standard) - 1)
    return np.where(mean > _ROUNDING, np.minimum(_AGREEMENT * mean, 1.0), 0.0)


def by_performance(performance: Sequence[float], power: float = _POWER) -> Vector:
    """Weigh rankers by their past performance, such as mean nDCG, to a power; the weights have the mean 1.

    Wu et al. 2009, "Assigning appropriate weights for the linear combination data fusion method in information
    retrieval", DOI 10.1016/j.ipm.2009.02.003. performance: (r,), at least 0 and not all 0, else ValueError.
    """
    given = np.asarray(performance, dtype=np.float64)
    if not (given >= 0).all() or not given.any():
        raise ValueError("past performances must be at least 0, and one of them above")
    raised = given**power
    weights: Vector = raised / raised.mean()
    return weights
