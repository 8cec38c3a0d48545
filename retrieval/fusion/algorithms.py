"""Algorithms that fuse the scores of r rankers for n documents into one score a document, and what may follow them.

Scores are (r, n) arrays, higher is better, NaN where a ranker gave a document no score: a row of NaN is a ranker that
failed, and counts for nothing. A document without a score gets nothing from that ranker. Equal scores count as equal,
whatever the order of input. Every algorithm gives (n,) finite scores; their scale is its own.

Weights are (r,), at least 0, and None for equal ones.

After fusion, `smooth` and `feedback` change scores by how alike the documents are to each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from retrieval.fusion.normalization import Normalization, by_ranker, finite, min_max, ranking, ranks, zscore

Algorithm = Literal["weighted", "min_max", "reciprocal_rank", "borda", "condorcet", "bayesian", "stacking", "ensemble"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
DEFAULT: Algorithm = "weighted"

_RRF = 60.0  # as in the paper; a larger one makes the first ranks count less
_MOST_LOG_ODDS = 12.0  # beyond ±12 a probability says no more
_ROUNDING = 1e-12  # of a sum of votes

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """Parameters of the algorithms that learn from judged queries, a number for each ranker; `qrerank fit` finds them.

    slopes, intercepts: for each ranker, of the log-odds that a document is relevant over the ranker's own score.
    coefficients: of the log-odds over the z-scores of all rankers together.
    """

    slopes: tuple[float, ...]
    intercepts: tuple[float, ...]
    coefficients: tuple[float, ...]


def fuse(algorithm: Algorithm, scores: NDArray[Any], weights: NDArray[Any] | None, fitted: Fitted) -> Vector:
    """Fuse (r, n) scores by an algorithm of this name. fitted: what `bayesian` and `stacking` need.

    ValueError: an unknown name, infinite scores, or weights that are not (r,) finite numbers, at least 0 and not all 0.
    """
    if algorithm == "ensemble":
        members = [fuse(each, scores, weights, fitted) for each in ALGORITHMS if each != "ensemble"]
        return weighted_mean(np.stack(members))
    if algorithm == "bayesian":
        return bayesian(scores, fitted.slopes, fitted.intercepts, weights)
    if algorithm == "stacking":
        return stacking(scores, fitted.coefficients)
    if algorithm not in _UNFITTED:
        raise ValueError(f"unknown fusion {algorithm!r}; choose one of {', '.join(ALGORITHMS)}")
    return _UNFITTED[algorithm](scores, weights)


def weighted_mean(
    scores: NDArray[Any], weights: NDArray[Any] | None = None, normalize: Normalization = zscore
) -> Vector:
    """Return the weighted mean of normalized scores.

    Fox & Shaw 1994, "Combination of multiple searches" (CombSUM); Vogt & Cottrell 1999, DOI 10.1023/A:1009980820262.
    """
    scores, weights = _checked(scores, weights)
    return _mean(by_ranker(normalize, scores), weights)


def reciprocal_ranks(scores: NDArray[Any], weights: NDArray[Any] | None = None) -> Vector:
    """Return the weighted mean of 1 / (60 + rank), rank from 1.

    Cormack, Clarke & Büttcher 2009, DOI 10.1145/1571941.1572114.
    """
    scores, weights = _checked(scores, weights)
    return _mean(by_ranker(lambda x: 1 / (_RRF + ranks(x)), scores), weights)


def borda(scores: NDArray[Any], weights: NDArray[Any] | None = None) -> Vector:
    """Return the weighted mean of Borda counts: n for a ranker's first of n documents, 1 for its last.

    Documents without its score share the points that are left. Aslam & Montague 2001, DOI 10.1145/383952.384007.
    """
    scores, weights = _checked(scores, weights)
    points = scores.shape[1] + 1 - by_ranker(ranks, _last(scores))
    return _mean(points, weights)


def condorcet(scores: NDArray[Any], weights: NDArray[Any] | None = None) -> Vector:
    """Return Copeland scores: how many others a document beats by the majority of weights, less those it loses to.

    Documents without a ranker's score lose to those with one. A document that beats all others is first, as in the
    Condorcet fusion of Montague & Aslam 2002, DOI 10.1145/584792.584881; majorities that go round in a circle tie.
    """
    scores, weights = _checked(scores, weights)
    n = scores.shape[1]
    majority = np.zeros((n, n))
    for row, weight in zip(by_ranker(ranks, _last(scores)), weights, strict=True):
        majority -= weight * np.sign(row[:, np.newaxis] - row)
    majority[np.abs(majority) <= _ROUNDING * weights.sum()] = 0
    copeland: Vector = np.sign(majority).sum(axis=1)
    return copeland


def bayesian(
    scores: NDArray[Any],
    slopes: Sequence[float],
    intercepts: Sequence[float],
    weights: NDArray[Any] | None = None,
) -> Vector:
    """Return the weighted sum of the log-odds that each ranker alone gives that a document is relevant.

    This is Bayes' rule for rankers that err independently, up to a constant for all documents (Aslam & Montague 2001,
    DOI 10.1145/383952.384007). Log-odds are linear in a ranker's own score (Platt 1999, "Probabilistic outputs for
    support vector machines"), within ±12.

    Args:
        scores: (r, n); a missing score says nothing.
        slopes: (r,).
        intercepts: (r,).
        weights: (r,).
    """
    scores, weights = _checked(scores, weights)
    with np.errstate(over="ignore"):
        log_odds = _column(slopes, scores) * scores + _column(intercepts, scores)
    total: Vector = weights @ np.nan_to_num(np.clip(log_odds, -_MOST_LOG_ODDS, _MOST_LOG_ODDS))
    return total


def stacking(scores: NDArray[Any], coefficients: Sequence[float]) -> Vector:
    """Return log-odds of relevance by a logistic regression over the rankers' z-scores, up to a constant.

    Wolpert 1992, "Stacked generalization", DOI 10.1016/S0893-6080(05)80023-1. coefficients: (r,), of any sign.
    """
    scores, _ = _checked(scores, None)
    log_odds: Vector = (_column(coefficients, scores) * by_ranker(zscore, scores)).sum(axis=0)
    return log_odds


def reciprocal_rank(rankings: Sequence[NDArray[np.int64]], weights: Sequence[float]) -> NDArray[np.int64]:
    """Fuse rankings by Σ weight / (60 + rank), rank from 1: the (m,) distinct items, best first, ties by item.

    As `reciprocal_ranks`, of lists that need not hold the same items. rankings: (r,) distinct items each, best first;
    what one does not hold gets nothing from it. weights: one each, ≥ 0; a ranking of weight 0 adds no items.
    """
    kept = [(items, weight) for items, weight in zip(rankings, weights, strict=True) if weight > 0 and len(items)]
    if not kept:
        return np.empty(0, dtype=np.int64)
    different, of = np.unique(np.concatenate([items for items, _ in kept]), return_inverse=True)
    parts = [weight / (_RRF + 1 + np.arange(len(items))) for items, weight in kept]
    scores = np.bincount(of, np.concatenate(parts))
    return different[ranking(scores)]


def smooth(gram: NDArray[Any], scores: NDArray[Any], ridge: float) -> Vector:
    """Smooth scores over similar documents with kernel ridge regression: K (K + ridge·I)⁻¹ s.

    Relevant documents cluster (Diaz 2005, "Regularizing ad hoc retrieval scores", DOI 10.1145/1099554.1099722). In the
    eigenbasis of K each component of s is scaled by κ/(κ + ridge), κ being its eigenvalue: scores on which similar
    documents agree are kept, deviations from similar documents are damped.

    Args:
        gram: K, (n, n), symmetric and positive semidefinite.
        scores: s, (n,), or (n, k) for k of them.
        ridge: Above 0; near 0 it leaves s unchanged if K has full rank.

    Returns:
        float64 of their shape.

    Raises:
        ValueError: Shapes differ, ridge ≤ 0, or a number is not finite.
    """
    kernel, signal = _of_one_size(gram, scores, most_axes=2)
    if not (np.isfinite(ridge) and ridge > 0):
        raise ValueError(f"the ridge must be positive and finite, got {ridge}")
    smoothed: Vector = kernel @ np.linalg.solve(kernel + ridge * np.eye(len(signal)), signal)
    return smoothed


def feedback(gram: NDArray[Any], scores: NDArray[Any], top: int, share: float) -> Vector:
    """Add to z-scores how near documents are to the best ones: pseudo-relevance feedback.

    The mean similarity to the `top` best is that to their centroid (Rocchio 1971, "Relevance feedback in information
    retrieval"; with dense vectors Li et al. 2021, arXiv:2108.11044). A document's similarity to itself counts, too.

    Args:
        gram: K, (n, n), how similar documents are.
        scores: s, (n,).
        top: How many of the best are taken for relevant, at least 1.
        share: Of the similarity's z-score in the result, 0 to 1.

    Returns:
        (n,) float64.

    Raises:
        ValueError: Shapes differ, top < 1, a share out of range, or a number is not finite.
    """
    similar, signal = _of_one_size(gram, scores)
    if top < 1 or not 0 <= share <= 1:
        raise ValueError(f"feedback needs at least 1 document and a share in [0, 1], got {top} and {share}")
    best = ranking(signal)[:top]
    return (1 - share) * zscore(signal) + share * zscore(similar[:, best].mean(axis=1) if len(best) else signal)


_UNFITTED: Mapping[str, Callable[[NDArray[Any], NDArray[Any] | None], Vector]] = {
    "weighted": weighted_mean,
    "min_max": partial(weighted_mean, normalize=min_max),
    "reciprocal_rank": reciprocal_ranks,
    "borda": borda,
    "condorcet": condorcet,
}


def _checked(scores: NDArray[Any], weights: NDArray[Any] | None) -> tuple[Vector, Vector]:
    """The (r, n) scores and (r,) weights, that of a ranker without any score being 0."""
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 2 or np.isinf(values).any():
        raise ValueError(f"fusion needs a row of finite scores, or NaN, for each ranker; got {values.shape}")
    given = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    if given.shape != (len(values),) or not (np.isfinite(given).all() and given.min(initial=0) >= 0 < given.sum()):
        raise ValueError(f"{len(values)} rankers need as many finite weights, at least 0 and not all 0; got {given}")
    return values, given * ~np.isnan(values).all(axis=1)


def _mean(points: Vector, weights: Vector) -> Vector:
    """The weighted mean over r rankers of (r, n) points; 0 if no ranker that has a weight has scores."""
    total = weights.sum()
    mean: Vector = (weights[:, np.newaxis] * points).sum(axis=0) / (total or 1.0)
    return mean


def _last(scores: Vector) -> Vector:
    """The scores, missing ones below all others."""
    return np.where(np.isnan(scores), -np.inf, scores)


def _column(parameters: Sequence[float], scores: Vector) -> Vector:
    """The parameters as (r, 1); ValueError unless there is one for each ranker."""
    if len(parameters) != len(scores):
        raise ValueError(f"{len(scores)} rankers need as many parameters, got {len(parameters)}")
    return np.asarray(parameters, dtype=np.float64)[:, np.newaxis]


def _of_one_size(gram: NDArray[Any], scores: NDArray[Any], most_axes: int = 1) -> tuple[Vector, Vector]:
    kernel, signal = finite(gram), finite(scores)
    if not 1 <= signal.ndim <= most_axes or kernel.shape != (len(signal), len(signal)):
        raise ValueError(f"a stage needs an (n, n) Gram matrix and (n,) scores, got {kernel.shape}, {signal.shape}")
    return kernel, signal
