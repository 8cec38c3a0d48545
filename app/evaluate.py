"""Does it rank better than cosine? Retrieve and rerank a test collection, and compare the methods query by query."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.reranker import Ranking, Reranker
from app.scoring import Method
from retrieval.beir import BeirDataset, Exclusion
from retrieval.collection import FORMAT, Collection, build
from retrieval.encoder import Encoder
from retrieval.errors import DataError
from retrieval.fusion import ranking as best_first
from retrieval.metrics import Qrels, Run, mean, mrr, ndcg, recall
from retrieval.passage import Passage
from retrieval.prepare import Progress
from retrieval.significance import Paired, paired_test

BASELINE: Method = "classical"
BM25 = "bm25"  # beside the methods in every table: BM25 over the same candidates
_DEPTH = 10


@dataclass(frozen=True)
class Scores:
    """How well one method did: means over the queries, and the nDCG@10 of each for the paired test."""

    ndcg: float
    mrr: float
    recall: float
    ms_per_query: float
    by_query: NDArray[np.float64]  # (q,) nDCG@10


@dataclass(frozen=True)
class Evaluation:
    """One collection's results."""

    dataset: str
    encoder: str  # what computed the states: runtime and precision
    queries: int
    candidates: int
    methods: Mapping[str, Scores]
    paired: Mapping[str, Paired]  # "hybrid vs classical"

    def as_json(self) -> dict[str, object]:
        """The form that `qrerank evaluate --json` writes."""
        methods = {
            name: {
                "ndcg@10": scores.ndcg,
                "mrr@10": scores.mrr,
                f"recall@{self.candidates}": scores.recall,
                "ms_per_query": scores.ms_per_query,
            }
            for name, scores in self.methods.items()
        }
        paired = {name: {"delta": test.delta, "p": test.p} for name, test in self.paired.items()}
        return {
            "dataset": self.dataset,
            "queries": self.queries,
            "candidates": self.candidates,
            "methods": methods,
            "paired": paired,
        }


def open_dataset(dataset: BeirDataset, encoder: Encoder, cache: Path, progress: Progress) -> Collection:
    """The dataset's documents as a collection, built once for each content, model and arithmetic."""
    content = hashlib.sha256(repr((dataset.document_ids, dataset.documents)).encode()).hexdigest()
    folder = cache / f"{dataset.name}-{FORMAT}-{content[:12]}-{encoder.digest[:12]}-{encoder.arithmetic}"
    if not folder.exists():
        passages = [Passage(i, "", text) for i, text in zip(dataset.document_ids, dataset.documents, strict=True)]
        build(folder, passages, encoder, lambda done, total: progress(f"encoding {dataset.name}", done, total))
    return Collection(folder)


def evaluate(
    reranker: Reranker,
    dataset: BeirDataset,
    collection: Collection,
    methods: Sequence[Method],
    progress: Progress,
    *,
    candidates: int = 100,
    encode_limit: int | None = None,
    exclusions: Sequence[Exclusion] = (),
) -> Evaluation:
    """Rerank every query's nearest `candidates` documents by each method.

    With exclusions, their queries alone are evaluated. Paired tests compare each other method with `classical`.
    """
    queries = _queries(dataset, exclusions)
    qrels = {query_id: dataset.qrels[query_id] for query_id, _, _ in queries}
    results: dict[str, Scores] = {}
    for method in methods:
        runs: dict[str, dict[str, list[str]]] = {method: {}, BM25: {}}
        elapsed = prescoring = 0.0
        for done, (query_id, text, exclude) in enumerate(queries):
            progress(f"{dataset.name}: {method}", done, len(queries))
            start = time.perf_counter()
            positions, ranking = reranker.search(
                text, collection, candidates=candidates, method=method, exclude=exclude, encode_limit=encode_limit
            )
            elapsed += time.perf_counter() - start
            ids = [passage.id for passage in collection.passages(positions)]
            runs[method][query_id] = [ids[i] for i in ranking.order]
            runs[BM25][query_id] = _by_bm25(ids, ranking)
            prescoring += ranking.timings_ms["prescore"]
        results[method] = _score(runs[method], qrels, candidates, elapsed * 1e3 / len(queries))
        results.setdefault(BM25, _score(runs[BM25], qrels, candidates, prescoring / len(queries)))
        progress(f"{dataset.name}: {method}", len(queries), len(queries))
    paired = {
        f"{name} vs {BASELINE}": paired_test(scores.by_query, results[BASELINE].by_query)
        for name, scores in results.items()
        if BASELINE in results and name != BASELINE
    }
    return Evaluation(dataset.name, reranker.encoder.arithmetic, len(queries), candidates, results, paired)


def _queries(dataset: BeirDataset, exclusions: Sequence[Exclusion]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Query id, text and what it excludes; queries without a relevant document say nothing and are left out."""
    if exclusions:
        asked = [(item.query_id, item.text, item.exclude) for item in exclusions]
    else:
        asked = [(i, text, ()) for i, text in zip(dataset.query_ids, dataset.queries, strict=True)]
    judged = [query for query in asked if any(grade > 0 for grade in dataset.qrels.get(query[0], {}).values())]
    if not judged:
        raise DataError(f"{dataset.name}: none of the {len(asked)} queries has a relevant document in its qrels")
    return judged


def _by_bm25(ids: Sequence[str], ranking: Ranking) -> list[str]:
    return [ids[i] for i in best_first(ranking.rankers["lexical"])]


def _score(run: Run, qrels: Qrels, candidates: int, ms_per_query: float) -> Scores:
    by_query = ndcg(run, qrels, _DEPTH)
    return Scores(
        ndcg=mean(by_query),
        mrr=mean(mrr(run, qrels, _DEPTH)),
        recall=mean(recall(run, qrels, candidates)),
        ms_per_query=ms_per_query,
        by_query=np.array(list(by_query.values())),
    )
