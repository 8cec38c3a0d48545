"""Fitting the calibration: from judged queries to the parameters that turn evidence into probabilities."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.cli.evaluation import own_documents
from app.ranking.calibration import FEATURES, Calibration, Evidence, probability
from app.ranking.job import Ranking
from app.ranking.reranker import Reranker
from retrieval.encoder.prepare import Progress
from retrieval.evaluation.beir import BeirDataset, Query
from retrieval.index.collection import Collection
from retrieval.text.bm25 import QueryTerms

CANDIDATES = 100
OTHERS = 20  # passages that a query did not retrieve: of its own collection, and of another one
_MOST_RELEVANT = 3  # documents of a query that count as relevant, the best ranked
_NEAR = 10  # documents of a query that are ranked high and not relevant
_NEAR_WEIGHT = 0.3  # of all that is not relevant to a query; the rest is the others'
_INVERSE_PENALTY = 100.0  # of scikit-learn's logistic regression: next to none
RELEVANT, IRRELEVANT = 0.5, 0.3  # probabilities that the best relevant document should reach, and others should not


@dataclass(frozen=True)
class Judged:
    """A collection with judged queries, opened."""

    dataset: BeirDataset
    collection: Collection
    queries: Sequence[Query]


@dataclass(frozen=True)
class Example:
    """The evidence of one query: (d, f) rows of the features of `FEATURES["hybrid"]`, and what they are."""

    collection: str
    relevant: NDArray[np.float64]  # best ranked first; may be empty
    near: NDArray[np.float64]
    same: NDArray[np.float64]  # passages of the same collection that were not retrieved
    other: NDArray[np.float64]  # passages of another collection


@dataclass(frozen=True)
class Rates:
    """How often scores say what they should, each for a share of the queries."""

    queries: int
    relevant: float | None  # the best relevant document alone has at least 0.5; None: no query has one
    same: float | None  # the best of 20 other passages of the collection has at most 0.3; None: there are none
    other: float | None  # the best of 20 passages of another collection has at most 0.3
    error: float  # mean difference between probability and frequency, over ten bins (expected calibration error)
    bins: NDArray[np.float64]  # (b, 3) of the bins that hold something: mean probability, frequency, weight


def examples(reranker: Reranker, judged: Sequence[Judged], most: int, progress: Progress) -> list[Example]:
    """The evidence of up to `most` queries of each collection, chosen at random but always the same."""
    found = []
    for at, own in enumerate(judged):
        other = judged[(at + 1) % len(judged)]
        queries = random.Random(own.dataset.name).sample(own.queries, min(most, len(own.queries)))  # noqa: S311
        for done, query in enumerate(queries):
            progress(f"evidence of {own.dataset.name}", done, len(queries))
            found.append(_example(reranker, own, other, query))
        progress(f"evidence of {own.dataset.name}", len(queries), len(queries))
    return found


def _example(reranker: Reranker, own: Judged, other: Judged, query: Query) -> Example:
    dataset, ids = own.dataset, own.dataset.document_ids
    positions, ranking = reranker.search(
        query.text, own.collection, candidates=CANDIDATES, leave_out=own_documents(dataset).get(query.id)
    )
    rows, grades = _rows(query.text, ranking), dataset.qrels[query.id]
    best = [(at, grades.get(ids[positions[at]], 0) > 0) for at in ranking.order.tolist()]
    relevant = [at for at, is_relevant in best if is_relevant][:_MOST_RELEVANT]
    near = [at for at, is_relevant in best if not is_relevant][:_NEAR]
    chance = random.Random(query.id)  # noqa: S311 - the same in every run
    known = {*positions.tolist()} | {at for at, name in enumerate(ids) if grades.get(name, 0) > 0}
    drawn = {
        "same": chance.sample([at for at in range(len(ids)) if at not in known], min(OTHERS, len(ids) - len(known))),
        "other": chance.sample(range(len(other.collection)), min(OTHERS, len(other.collection))),
    }
    same, other_rows = (
        _rows(query.text, reranker.rank_passages(query.text, place.collection, np.array(drawn[name], dtype=np.int64)))
        if drawn[name]
        else np.zeros((0, rows.shape[1]))
        for name, place in (("same", own), ("other", other))
    )
    return Example(dataset.name, rows[relevant], rows[near], same, other_rows)


def _rows(query: str, ranking: Ranking) -> NDArray[np.float64]:
    """The (n, f) features of ranked documents."""
    found = {"cosine": ranking.rankers["classical"], **ranking.evidence}
    found["query_length"] = np.full(len(ranking.order), math.log(QueryTerms.of(query).length))
    return np.stack([found[name] for name in FEATURES["hybrid"]], axis=1)


def fit(found: Sequence[Example]) -> dict[Evidence, dict[str, float]]:
    """The coefficients by method and feature. Each query counts as much as any other, and so does each collection."""
    x, y, weights = _table(found)
    columns = {name: at for at, name in enumerate(FEATURES["hybrid"])}
    return {
        evidence: _logistic(names, x[:, [columns[name] for name in names]], y, weights)
        for evidence, names in FEATURES.items()
    }


def _table(found: Sequence[Example]) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """The (s, f) features of all documents, (s,) whether each is relevant, and (s,) weights."""
    sizes = {name: sum(each.collection == name for each in found) for name in {each.collection for each in found}}
    rows, labels, weights = [], [], []
    for each in found:
        far = np.concatenate([each.same, each.other])
        for part, label, total in (
            (each.relevant, True, 1.0),
            (each.near, False, _NEAR_WEIGHT),
            (far, False, 1 - _NEAR_WEIGHT),
        ):
            rows.append(part)
            labels.append(np.full(len(part), label))
            weights.append(np.full(len(part), total / max(1, len(part)) / sizes[each.collection]))
    return np.concatenate(rows), np.concatenate(labels), np.concatenate(weights)


def _logistic(
    names: Sequence[str], x: NDArray[np.float64], y: NDArray[np.bool_], weights: NDArray[np.float64]
) -> dict[str, float]:
    from sklearn.linear_model import LogisticRegression  # of the extra `fit`

    mean = np.average(x, axis=0, weights=weights)
    spread = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weights))
    spread[spread == 0] = 1.0
    model = LogisticRegression(C=_INVERSE_PENALTY, max_iter=10_000)
    model.fit((x - mean) / spread, y, sample_weight=weights * len(weights) / weights.sum())
    slopes = model.coef_[0] / spread
    row = dict(zip(names, slopes.tolist(), strict=True))
    return {**row, "intercept": float(model.intercept_[0] - slopes @ mean)}


def rates(calibration: Calibration, found: Sequence[Example]) -> Rates:
    """How often these queries' scores say what they should, by `hybrid`'s evidence alone."""

    def of(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return probability(calibration.log_odds("hybrid", dict(zip(FEATURES["hybrid"], rows.T, strict=True))))

    alone = [of(each.relevant[:1])[0] >= RELEVANT for each in found if len(each.relevant)]
    same = [of(each.same).max() <= IRRELEVANT for each in found if len(each.same)]
    other = [of(each.other).max() <= IRRELEVANT for each in found if len(each.other)]
    x, y, weights = _table(found)
    bins = _bins(of(x), y, weights)
    error = float(np.abs(bins[:, 0] - bins[:, 1]) @ bins[:, 2] / bins[:, 2].sum())
    relevant, of_same, of_other = (float(np.mean(each)) if each else None for each in (alone, same, other))
    return Rates(len(found), relevant, of_same, of_other, error, bins)


def _bins(p: NDArray[np.float64], y: NDArray[np.bool_], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    at = np.minimum((10 * p).astype(int), 9)
    total = np.bincount(at, weights, 10)
    sums = np.stack([np.bincount(at, weights * p, 10), np.bincount(at, weights * y, 10)], axis=1)
    held = total > 0
    return np.column_stack([sums[held] / total[held, None], total[held]])
