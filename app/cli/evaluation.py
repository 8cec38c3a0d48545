"""Does it rank better than cosine? Retrieve and rerank a test collection, and compare the methods query by query."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.ranking.methods import Method
from app.ranking.reranker import Ranking, Reranker
from retrieval.encoder.prepare import Progress
from retrieval.encoder.protocol import Encoder
from retrieval.errors import DataError
from retrieval.evaluation.beir import BeirDataset, Query
from retrieval.evaluation.metrics import Qrels, Run, mean, mrr, ndcg, recall
from retrieval.evaluation.significance import Paired, paired_test
from retrieval.fusion import ranking as best_first
from retrieval.index.collection import FORMAT, Collection, build
from retrieval.text.passages import Passage

Found = tuple[NDArray[np.int64], Ranking]  # positions in the collection, and their ranking

BASELINE: Method = "classical"
BM25 = "bm25"  # beside the methods in every table: BM25 over the same candidates
_DEPTH = 10
_NOT_PLAIN = re.compile(r"[^\w.-]++", re.ASCII)  # in the name of a folder
_NAME_CHARACTERS = 40  # of a dataset, in the name of the folder where it is kept


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
    name = _NOT_PLAIN.sub("-", dataset.name)[:_NAME_CHARACTERS]  # FAISS opens no other path
    folder = cache / f"{name}-{FORMAT}-{content[:12]}-{encoder.digest[:12]}-{encoder.arithmetic}"
    if not folder.exists():
        passages = [Passage(i, "", text) for i, text in zip(dataset.document_ids, dataset.documents, strict=True)]
        build(folder, passages, encoder, lambda done, total: progress(f"encoding {dataset.name}", done, total))
    return Collection(folder)


def judged_queries(dataset: BeirDataset, exclusions: Sequence[Query] = ()) -> list[Query]:
    """The queries to evaluate: those with a relevant document, since the others say nothing.

    exclusions: queries to take in the place of the dataset's, under the same ids. DataError where none is left.
    """
    queries = exclusions or [Query(i, text, ()) for i, text in zip(dataset.query_ids, dataset.queries, strict=True)]
    judged = [query for query in queries if any(grade > 0 for grade in dataset.qrels.get(query.id, {}).values())]
    if not judged:
        raise DataError(f"{dataset.name}: none of the {len(queries)} queries has a relevant document in its qrels")
    return judged


def evaluate(
    reranker: Reranker,
    dataset: BeirDataset,
    collection: Collection,
    queries: Sequence[Query],
    methods: Sequence[Method],
    progress: Progress,
    *,
    candidates: int = 100,
    encode_limit: int | None = None,
    keep_identical_ids: bool = False,
) -> Evaluation:
    """Rerank every query's nearest `candidates` documents by each method; paired tests compare it with `classical`.

    queries: those of `judged_queries`. keep_identical_ids: whether a document may be found that has the query's id.
    As in BEIR it may not: in ArguAna it is the query itself. Only where it is judged relevant is it another one, since
    two countings met.
    """
    qrels = {query.id: dataset.qrels[query.id] for query in queries}
    own = {} if keep_identical_ids else own_documents(dataset)
    results: dict[str, Scores] = {}
    for method in methods:
        runs = _Runs()
        search = partial(reranker.search, candidates=candidates, method=method, encode_limit=encode_limit)
        for done, query in enumerate(queries):
            progress(f"{dataset.name}: {method}", done, len(queries))
            runs.add(query, collection, partial(search, leave_out=own.get(query.id)))
        progress(f"{dataset.name}: {method}", len(queries), len(queries))
        results[method] = _score(runs.method, qrels, candidates, runs.ms / len(queries))
        results.setdefault(BM25, _score(runs.bm25, qrels, candidates, runs.prescore_ms / len(queries)))
    paired = {
        f"{name} vs {BASELINE}": paired_test(scores.by_query, results[BASELINE].by_query)
        for name, scores in results.items()
        if BASELINE in results and name != BASELINE
    }
    return Evaluation(dataset.name, reranker.encoder.arithmetic, len(queries), candidates, results, paired)


@dataclass
class _Runs:
    """What one method made of the queries so far, and BM25 of the same candidates; times are of all of them."""

    method: Run = field(default_factory=dict)
    bm25: Run = field(default_factory=dict)
    ms: float = 0.0
    prescore_ms: float = 0.0

    def add(self, query: Query, collection: Collection, search: Callable[..., Found]) -> None:
        start = time.perf_counter()
        positions, ranking = search(query.text, collection, exclude=query.exclude)
        self.ms += (time.perf_counter() - start) * 1e3
        self.prescore_ms += ranking.timings_ms["prescore"]
        ids = [passage.id for passage in collection.passages(positions)]
        self.method[query.id] = [ids[i] for i in ranking.order]
        self.bm25[query.id] = [ids[i] for i in best_first(ranking.rankers["lexical"])]


def own_documents(dataset: BeirDataset) -> dict[str, int]:
    """Of each query whose id a document has as well, unless that is judged relevant to it: the document's position."""
    positions = {document: at for at, document in enumerate(dataset.document_ids)}
    return {
        query: positions[query]
        for query, grades in dataset.qrels.items()
        if query in positions and grades.get(query, 0) <= 0
    }


def _score(run: Run, qrels: Qrels, candidates: int, ms_per_query: float) -> Scores:
    by_query = ndcg(run, qrels, _DEPTH)
    return Scores(
        ndcg=mean(by_query),
        mrr=mean(mrr(run, qrels, _DEPTH)),
        recall=mean(recall(run, qrels, candidates)),
        ms_per_query=ms_per_query,
        by_query=np.array(list(by_query.values())),
    )
