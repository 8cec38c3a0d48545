"""Ranking metrics from relevance judgements: nDCG, MRR, MAP and recall, as in trec_eval and ranx.

A document is relevant if its grade is above 0; documents without a grade are not relevant. Queries without a relevant
document are skipped. Queries missing from the run score 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np

Run = dict[str, list[str]]  # query id -> distinct document ids, best first
Qrels = dict[str, dict[str, float]]  # query id -> document id -> grade


def ndcg(run: Run, qrels: Qrels, k: int = 10) -> dict[str, float]:
    """Compute nDCG@k: Σ grade/log₂(rank + 1), divided by the same sum for the ideal order.

    Järvelin & Kekäläinen 2002, DOI 10.1145/582415.582418, with gains linear in the grade; the ideal order includes all
    judged documents, retrieved or not. Returns a value in [0, 1] by query id, in the order of qrels.
    ValueError for k < 1, or if a run ranks a document twice.
    """
    values = {}
    for query, top, relevant in _judged(run, qrels, k):
        ideal = sorted(relevant.values(), reverse=True)[:k]
        values[query] = _dcg([relevant.get(document, 0) for document in top]) / _dcg(ideal)
    return values


def mrr(run: Run, qrels: Qrels, k: int = 10) -> dict[str, float]:
    """Compute the reciprocal rank of the first relevant document within k, else 0 (Voorhees 1999, TREC-8 QA track).

    Returns a value in [0, 1] by query id, in the order of qrels. ValueError as for `ndcg`.
    """
    values = {}
    for query, top, relevant in _judged(run, qrels, k):
        values[query] = next((1 / rank for rank, document in enumerate(top, 1) if document in relevant), 0.0)
    return values


def recall(run: Run, qrels: Qrels, k: int = 100) -> dict[str, float]:
    """Compute the share of the relevant documents that are ranked within k.

    Returns a value in [0, 1] by query id, in the order of qrels. ValueError as for `ndcg`.
    """
    return {query: len(relevant.keys() & top) / len(relevant) for query, top, relevant in _judged(run, qrels, k)}


def average_precision(run: Run, qrels: Qrels, k: int = 100) -> dict[str, float]:
    """Compute average precision within k; its mean over queries is MAP.

    The sum of the precisions at the ranks of the relevant documents, divided by the number of all relevant documents,
    retrieved or not. Returns a value in [0, 1] by query id, in the order of qrels. ValueError as for `ndcg`.
    """
    values = {}
    for query, top, relevant in _judged(run, qrels, k):
        ranks = [rank for rank, document in enumerate(top, 1) if document in relevant]
        values[query] = sum(found / rank for found, rank in enumerate(ranks, 1)) / len(relevant)
    return values


def unjudged(run: Run, qrels: Qrels, k: int = 10) -> dict[str, float]:
    """Compute the share of documents within k that nobody judged: the metrics take them as not relevant.

    Returns a value in [0, 1] by query id, in the order of qrels; 0 where nothing was ranked. ValueError as for `ndcg`.
    """
    return {
        query: sum(document not in qrels[query] for document in top) / max(1, len(top))
        for query, top, _ in _judged(run, qrels, k)
    }


def oracle(run: Run, qrels: Qrels) -> Run:
    """Return the run with each query's documents in the best order: by falling grade, equal grades as they were.

    Its nDCG is the most that reranking the same documents can reach.
    """
    return {
        query: sorted(ranked, key=lambda document: -max(0.0, qrels.get(query, {}).get(document, 0.0)))
        for query, ranked in run.items()
    }


def mean(values: Mapping[str, float]) -> float:
    """Return the mean over queries; ValueError if there are none."""
    if not values:
        raise ValueError("no query has a relevant document: check the qrels file")
    return float(np.mean(list(values.values())))


def _judged(run: Run, qrels: Qrels, k: int) -> Iterator[tuple[str, list[str], dict[str, float]]]:
    """Yield each query with a relevant document, its top k, and the grades of its relevant documents."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    for query, grades in qrels.items():
        relevant = {document: grade for document, grade in grades.items() if grade > 0}
        if not relevant:
            continue
        ranked = run.get(query, [])
        if len(set(ranked)) < len(ranked):
            raise ValueError(f"the run ranks a document twice for query {query!r}")
        yield query, list(islice(ranked, k)), relevant


def _dcg(gains: Sequence[float]) -> float:
    return float(np.sum(np.array(gains, dtype=np.float64) / np.log2(np.arange(2, len(gains) + 2))))
