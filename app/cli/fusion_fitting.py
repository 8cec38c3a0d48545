"""Fitting fusion: the bandwidth, the weights, the smoothing, and the parameters of stacking and Bayesian fusion.

What is chosen on some queries is judged on others: on each collection by what the others chose, and within a single
collection on each fifth by what the rest chose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray

from app.cli.fitting import logistic
from app.cli.judged_lists import BANDWIDTHS, ROWS, JudgedList, JudgedLists
from app.ranking.hybrid import RANKERS, Fusion, Weights
from retrieval.encoder.prepare import Progress
from retrieval.errors import DataError
from retrieval.evaluation.significance import paired_test
from retrieval.fusion.algorithms import Algorithm, Fitted, smooth
from retrieval.fusion.normalization import by_ranker, zscore

Vector = NDArray[np.float64]

_FOLDS = 5
_LEARNED: tuple[Algorithm, ...] = ("bayesian", "stacking")
_SIGNIFICANT = 0.05
_FACTORS = (1.0, *BANDWIDTHS)
_WEIGHTS = (0.25, 0.5, 1.0, 2.0)  # of cosine and BM25, where fidelity has 1
_SMOOTHED = (0.0, 0.5, 0.9)
_RIDGES = (0.3, 1.0, 3.0)


@dataclass(frozen=True)
class Choice:
    """What is tried together."""

    bandwidth: float  # times the configured one
    weights: Weights
    ridge: float


def grid(fusion: Fusion, factors: Sequence[float] = _FACTORS) -> list[Choice]:
    """All choices; the first is what is configured. factors: of the bandwidth."""
    tried = [
        Choice(factor, Weights(cosine, 1.0, lexical, smoothed), ridge)
        for factor, cosine, lexical, smoothed, ridge in product(factors, _WEIGHTS, _WEIGHTS, _SMOOTHED, _RIDGES)
        if smoothed or ridge == _RIDGES[0]  # without smoothing the ridge does not matter
    ]
    return list(dict.fromkeys([Choice(1.0, fusion.text, fusion.ridge), *tried]))


def ndcg_of_choices(lists: JudgedLists, choices: Sequence[Choice], fusion: Fusion, progress: Progress) -> Vector:
    """(q, k) nDCG@10 of each query by each of k choices."""
    values = np.empty((len(lists), len(choices)))
    for done, each in enumerate(lists):
        progress(f"weights on {lists.collection}", done, len(lists))
        values[done] = _of_query(each, choices, fusion)
    progress(f"weights on {lists.collection}", len(lists), len(lists))
    return values


def _of_query(query: JudgedList, choices: Sequence[Choice], fusion: Fusion) -> Vector:
    """(k,): the fused scores of all choices are computed as columns of a few matrices."""
    if not query.readable:
        return np.full(len(choices), query.ndcg(query.row(RANKERS.index("lexical"))))
    standard = by_ranker(zscore, query.scores)
    quantum = {1.0: standard[1]} | dict(zip(BANDWIDTHS, standard[len(ROWS) - len(BANDWIDTHS) :], strict=True))
    mixed = [each.weights.towards(fusion.code, query.code) for each in choices]
    fused = np.stack(
        [
            (
                weights.classical * standard[0]
                + weights.quantum * quantum[each.bandwidth]
                + weights.lexical * standard[2]
            )
            for each, weights in zip(choices, mixed, strict=True)
        ],
        axis=1,
    )  # (n, k)
    for ridge in {each.ridge for each in choices}:
        columns = [at for at, each in enumerate(choices) if each.ridge == ridge]
        share = np.array([mixed[at].smoothed for at in columns])
        plain = fused[:, columns]
        fused[:, columns] = share * smooth(query.gram, plain, ridge) + (1 - share) * plain
    return np.array([query.ndcg(column) for column in fused.T])


def best_choice(values: Vector, weights: Vector) -> int:
    """Which of k choices to take; the first, unless the best one's mean is above it by more than a standard error.

    Breiman et al. 1984, "Classification and regression trees", section 3.4.3: what is simpler and as good is kept.
    values: (q, k) nDCG. weights: (q,) of the queries, with the sum 1.
    """
    gain = values - values[:, :1]
    mean = weights @ gain
    best = int(mean.argmax())
    error = float(np.sqrt(weights**2 @ (gain[:, best] - mean[best]) ** 2))
    return best if mean[best] > error else 0


def fit_rankers(found: Sequence[JudgedLists]) -> Fitted:
    """Fit logistic regressions of relevance on each ranker's score, and on the z-scores of all rankers.

    Each collection counts as much as any other, and so does each query; its relevant candidates together count as much
    as the others. Only the slopes order documents, so it does not matter that they are fewer.
    """
    rows, labels, weights = [], [], []
    for lists in found:
        for each in lists:
            relevant = each.grades > 0
            if each.readable and 0 < relevant.sum() < len(relevant):
                rows.append(np.concatenate([each.rankers, by_ranker(zscore, each.rankers)]).T)
                labels.append(relevant)
                weights.append(np.where(relevant, 1 / relevant.sum(), 1 / (~relevant).sum()) / len(lists))
    if not rows and not any(each.readable for lists in found for each in lists):
        raise DataError(
            "the model reads the script of no query, so words alone rank them, and there are no weights to fit; "
            "--calibration fits their scores"
        )
    if not rows:
        raise DataError("no query has candidates of both kinds, relevant and not: there is nothing to fit on")
    x, y, w = np.concatenate(rows), np.concatenate(labels), np.concatenate(weights)
    alone = [logistic([name], x[:, [at]], y, w) for at, name in enumerate(RANKERS)]
    together = logistic(RANKERS, x[:, len(RANKERS) :], y, w)
    return Fitted(
        tuple(row[name] for row, name in zip(alone, RANKERS, strict=True)),
        tuple(row["intercept"] for row in alone),
        tuple(together[name] for name in RANKERS),
    )


@dataclass(frozen=True)
class FittedFusion:
    """What is chosen, and how such choices do on queries that they were not made on."""

    choice: Choice
    fitted: Fitted
    held_out: Mapping[str, Mapping[str, Vector]]  # by group and fusion: (q,) nDCG@10
    kept: bool  # whether it is what was fitted, or still what is configured
    gain: float  # mean nDCG@10 of what was fitted, less that of what is configured, on held-out queries
    p: float  # of that difference


CONFIGURED, FITTED = "configured", "fitted"


def fit_fusion(
    found: Sequence[JudgedLists], fusion: Fusion, progress: Progress, factors: Sequence[float] = _FACTORS
) -> FittedFusion:
    """Choose weights, smoothing and bandwidth, and fit the other algorithms' parameters.

    The choice is kept only where it is significantly better (p < 0.05) in the mean over all held-out queries; else that
    of the configuration stays. A group is not judged if the others have no query with candidates of both kinds.

    Args:
        found: The judged lists of each collection.
        fusion: As configured; a weighted sum by type, without feedback.
        progress: Called after each query.
        factors: Of the bandwidth, to choose from.

    Raises:
        DataError: No query has candidates of both kinds, or there is one query alone.
    """
    choices, of_all = grid(fusion, factors), fit_rankers(found)
    values = [ndcg_of_choices(lists, choices, fusion, progress) for lists in found]
    held_out: dict[str, dict[str, Vector]] = {}
    for name, kept, left in _splits(found):
        try:
            fitted = fit_rankers([found[at].part(rows) for at, rows in kept])
        except DataError:  # nothing to fit on among the others
            continue
        chosen = best_choice(*_stacked([values[at][rows] for at, rows in kept]))
        at, rows = left
        held_out[name] = {CONFIGURED: values[at][rows, 0], FITTED: values[at][rows, chosen]}
        for algorithm in _LEARNED:
            tried = replace(fusion, algorithm=algorithm, fitted=fitted)
            held_out[name][algorithm] = found[at].part(rows).ndcg(partial(by_fusion, fusion=tried))
    if not held_out:
        raise DataError("one query is too few: what is fitted on some is judged on others; give more judged queries")
    ours, before = (np.concatenate([of[name] for of in held_out.values()]) for name in (FITTED, CONFIGURED))
    test = paired_test(ours, before)
    better = test.delta > 0 and test.p < _SIGNIFICANT
    choice = choices[best_choice(*_stacked(values)) if better else 0]
    return FittedFusion(choice, of_all, held_out, better, test.delta, test.p)


def by_fusion(query: JudgedList, fusion: Fusion) -> Vector:
    """(n,) scores of one query's candidates, fused as the service does."""
    if not query.readable:
        return query.row(RANKERS.index("lexical"))
    return fusion.fuse(query.rankers, query.code, lambda: query.gram)


Split = tuple[str, list[tuple[int, NDArray[np.int64]]], tuple[int, NDArray[np.int64]]]


def _splits(found: Sequence[JudgedLists]) -> Iterator[Split]:
    """The name of each group, what it is chosen on, and the group: numbers of collections, and of queries."""
    everything = [(at, np.arange(len(lists))) for at, lists in enumerate(found)]
    if len(found) > 1:
        for at, lists in enumerate(found):
            yield lists.collection, everything[:at] + everything[at + 1 :], everything[at]
    else:
        fold = np.arange(len(found[0])) % _FOLDS
        for number in range(min(_FOLDS, len(found[0]))):
            name = f"{found[0].collection}, {number + 1} of {_FOLDS}"
            yield name, [(0, np.flatnonzero(fold != number))], (0, np.flatnonzero(fold == number))


def _stacked(values: Sequence[Vector]) -> tuple[Vector, Vector]:
    """All rows, and their weights: each collection counts as much as any other."""
    weights = [np.full(len(rows), 1 / len(rows) / len(values)) for rows in values]
    return np.concatenate(values), np.concatenate(weights)
