"""Fitting the calibration: from judged queries to the parameters that turn evidence into probabilities."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from app.cli.evaluation import own_documents
from app.ranking.calibration import FEATURES, Calibration, Evidence, probability
from app.ranking.reranker import Reranker
from retrieval.encoder.prepare import Progress
from retrieval.errors import DataError
from retrieval.evaluation.beir import BeirDataset, Query
from retrieval.evaluation.metrics import ndcg
from retrieval.fusion import first_of_each
from retrieval.fusion import ranking as best_first
from retrieval.index.first_stage import BOTH, FirstStage
from retrieval.index.segment import Segment
from retrieval.text.bm25 import QueryTerms

CANDIDATES = 100
_BLOCK = 10_000  # passages that are read at once
OTHERS = 20  # passages that a query did not retrieve: of its own collection, and of another one
SPLIT = 30  # candidates of a list that is sent in two
_TIMES_SPLIT = 3  # at random, to tell what is lost from chance
_MOST_RELEVANT = 3  # documents of a query that count as relevant, the best ranked
_NEAR = 10  # documents of a query that are ranked high and not relevant
_RELEVANT_WEIGHT = 1.3  # of what is relevant to a query, where what is not has 1: to miss an answer is worse
_NEAR_WEIGHT = 0.3  # of all that is not relevant to a query; the rest is the others'
_INVERSE_PENALTY = 100.0  # of scikit-learn's logistic regression: next to none
RELEVANT, IRRELEVANT = 0.5, 0.3  # scores that the best relevant document should reach, and others should not


@dataclass(frozen=True)
class Judged:
    """A collection with judged queries, opened."""

    dataset: BeirDataset
    collection: Segment
    queries: Sequence[Query]

    @cached_property
    def documents(self) -> NDArray[np.int64]:
        """(p,) the document of each passage, by its place in the dataset."""
        places = {name: at for at, name in enumerate(self.dataset.document_ids)}
        blocks = np.array_split(np.arange(len(self.collection)), len(self.collection) // _BLOCK + 1)
        return np.array([places[each.id] for block in blocks for each in self.collection.passages(block)])


@dataclass(frozen=True)
class Case:
    """A judged query, and the positions of passages that its scores are tried on; each group may be empty."""

    own: Judged
    other: Judged
    query: Query
    retrieved: NDArray[np.int64]  # nearest first, one of each document
    relevant: NDArray[np.int64]  # of them the best ranked that are relevant, best first
    near: NDArray[np.int64]  # of them the best ranked that are not
    same: NDArray[np.int64]  # passages of the collection that were not retrieved
    others: NDArray[np.int64]  # passages of the other collection; of a single one, more that were not retrieved


@dataclass(frozen=True)
class Example:
    """The evidence of one case: (d, f) rows of the features of `FEATURES["hybrid"]`."""

    collection: str
    relevant: NDArray[np.float64]
    near: NDArray[np.float64]
    same: NDArray[np.float64]
    other: NDArray[np.float64]


@dataclass(frozen=True)
class Rates:
    """How often scores say what they should, each for a share of the queries; None: there is nothing to tell it by."""

    queries: int
    relevant: float | None  # the best relevant document alone has at least 0.5
    same: float | None  # the best of 20 other passages of the collection has at most 0.3
    other: float | None  # the best of 20 passages of another collection has at most 0.3
    lost: float  # nDCG@10 of 30 candidates, less that of two halves that are ranked apart and merged by score

    @property
    def shares(self) -> tuple[float | None, float | None, float | None]:
        """The three shares."""
        return self.relevant, self.same, self.other


def chosen(dataset: BeirDataset, queries: Sequence[Query], most: int) -> list[Query]:
    """Up to `most` of the queries, at random but always the same."""
    return random.Random(dataset.name).sample(queries, min(most, len(queries)))  # noqa: S311


def cases(
    reranker: Reranker, judged: Sequence[Judged], progress: Progress, first_stage: FirstStage = BOTH
) -> list[Case]:
    """Each collection's queries with their passages, chosen at random but always the same."""
    found = []
    for at, own in enumerate(judged):
        other = judged[(at + 1) % len(judged)]
        for done, query in enumerate(own.queries):
            progress(f"candidates of {own.dataset.name}", done, len(own.queries))
            found.append(_case(reranker, own, other, query, first_stage))
        progress(f"candidates of {own.dataset.name}", len(own.queries), len(own.queries))
    return found


def _case(reranker: Reranker, own: Judged, other: Judged, query: Query, first_stage: FirstStage) -> Case:
    dataset, ids, documents = own.dataset, own.dataset.document_ids, own.documents
    positions, ranking = reranker.search(
        query.text,
        own.collection,
        candidates=CANDIDATES,
        leave_out=own_documents(dataset).get(query.id),
        first_stage=first_stage,
        grouped=True,
    )
    grades, best = dataset.qrels[query.id], positions[ranking.order]
    is_relevant = np.array([grades.get(ids[at], 0) > 0 for at in documents[best].tolist()], dtype=bool)
    relevant = [at for at, name in enumerate(ids) if grades.get(name, 0) > 0]
    known = np.isin(documents, [*documents[positions].tolist(), *relevant])
    chance = random.Random(query.id)  # noqa: S311 - the same in every run
    same = _some(chance, ~known)
    others = _some(chance, ~known if other is own else np.ones(len(other.collection), dtype=bool))
    return Case(
        own,
        other,
        query,
        positions[first_of_each(documents[positions])],
        best[is_relevant][:_MOST_RELEVANT],
        best[~is_relevant][:_NEAR],
        same,
        others,
    )


def _some(chance: random.Random, allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Up to 20 of the passages that are allowed."""
    among = np.flatnonzero(allowed).tolist()
    return np.array(chance.sample(among, min(OTHERS, len(among))), dtype=np.int64)


def example(reranker: Reranker, case: Case) -> Example:
    """The evidence of one case."""

    def rows(place: Judged, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        names = FEATURES["hybrid"]
        if not len(positions):
            return np.zeros((0, len(names)))
        ranking = reranker.rank_passages(case.query.text, place.collection, positions)
        found = {"cosine": ranking.rankers["classical"], **ranking.evidence}
        terms = QueryTerms.of(case.query.text, place.collection.language)
        found["query_length"] = np.full(len(positions), math.log(terms.length))
        return np.stack([found[name] for name in names], axis=1)

    own, other = case.own, case.other
    return Example(
        own.dataset.name, rows(own, case.relevant), rows(own, case.near), rows(own, case.same), rows(other, case.others)
    )


def fit(found: Sequence[Example]) -> dict[Evidence, dict[str, float]]:
    """The coefficients by method and feature. Each query counts as much as any other, and so does each collection."""
    x, y, weights = _table(found)
    columns = {name: at for at, name in enumerate(FEATURES["hybrid"])}
    return {
        evidence: logistic(names, x[:, [columns[name] for name in names]], y, weights)
        for evidence, names in FEATURES.items()
    }


def _table(found: Sequence[Example]) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """The (s, f) features of all documents, (s,) whether each is relevant, and (s,) weights."""
    sizes = {name: sum(each.collection == name for each in found) for name in {each.collection for each in found}}
    rows, labels, weights = [], [], []
    for each in found:
        far = np.concatenate([each.same, each.other])
        for part, label, total in (
            (each.relevant, True, _RELEVANT_WEIGHT),
            (each.near, False, _NEAR_WEIGHT),
            (far, False, 1 - _NEAR_WEIGHT),
        ):
            rows.append(part)
            labels.append(np.full(len(part), label))
            weights.append(np.full(len(part), total / max(1, len(part)) / sizes[each.collection]))
    return np.concatenate(rows), np.concatenate(labels), np.concatenate(weights)


def logistic(
    names: Sequence[str], x: NDArray[np.float64], y: NDArray[np.bool_], weights: NDArray[np.float64]
) -> dict[str, float]:
    """The coefficients of a logistic regression of s outcomes on (s, f) features, by name, and the intercept."""
    from sklearn.linear_model import LogisticRegression  # of the extra `fit`

    if y.all() or not y.any():
        raise DataError("no query has candidates of both kinds, relevant and not: there is nothing to fit on")
    mean = np.average(x, axis=0, weights=weights)
    spread = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weights))
    spread[spread == 0] = 1.0
    model = LogisticRegression(C=_INVERSE_PENALTY, max_iter=10_000)
    model.fit((x - mean) / spread, y, sample_weight=weights * len(weights) / weights.sum())
    slopes = model.coef_[0] / spread
    row = dict(zip(names, slopes.tolist(), strict=True))
    return {**row, "intercept": float(model.intercept_[0] - slopes @ mean)}


def rates(reranker: Reranker, found: Sequence[Case]) -> Rates:
    """How often the reranker's scores of these cases say what they should."""

    def scores(case: Case, place: Judged, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        return reranker.rank_passages(case.query.text, place.collection, positions).scores

    alone = [scores(each, each.own, each.relevant[:1])[0] >= RELEVANT for each in found if len(each.relevant)]
    same = [scores(each, each.own, each.same).max() <= IRRELEVANT for each in found if len(each.same)]
    apart = [each for each in found if len(each.others) and each.other is not each.own]
    other = [scores(each, each.other, each.others).max() <= IRRELEVANT for each in apart]
    lost = []
    for each in found:
        whole, chance = each.retrieved[:SPLIT], random.Random(each.query.id)  # noqa: S311 - the same in every run
        at_once = _ndcg(each, scores(each, each.own, whole))
        for _ in range(_TIMES_SPLIT):
            merged = np.zeros(len(whole))
            for half in filter(len, np.array_split(chance.sample(range(len(whole)), len(whole)), 2)):
                merged[half] = scores(each, each.own, whole[half])
            lost.append(at_once - _ndcg(each, merged))
    relevant, of_same, of_other = (float(np.mean(each)) if each else None for each in (alone, same, other))
    return Rates(len(found), relevant, of_same, of_other, float(np.mean(lost)))


def _ndcg(case: Case, scores: NDArray[np.float64]) -> float:
    dataset, name = case.own.dataset, case.query.id
    documents = case.own.documents[case.retrieved[best_first(scores)]]
    run = {name: [dataset.document_ids[at] for at in documents.tolist()]}
    return ndcg(run, {name: dataset.qrels[name]}, 10)[name]


def reliability(calibration: Calibration, found: Sequence[Example]) -> NDArray[np.float64]:
    """Mean probability by `hybrid`'s evidence, share of relevant documents, and weight: (b, 3) of ten bins or fewer."""
    x, y, weights = _table(found)
    p = probability(calibration.log_odds("hybrid", dict(zip(FEATURES["hybrid"], x.T, strict=True))))
    at = np.minimum((10 * p).astype(int), 9)
    total = np.bincount(at, weights, 10)
    sums = np.stack([np.bincount(at, weights * p, 10), np.bincount(at, weights * y, 10)], axis=1)
    held = total > 0
    return np.column_stack([sums[held] / total[held, None], total[held]])


def calibration_error(bins: NDArray[np.float64]) -> float:
    """Return the mean difference between probability and share (expected calibration error). bins: of `reliability`."""
    return float(np.abs(bins[:, 0] - bins[:, 1]) @ bins[:, 2] / bins[:, 2].sum())
