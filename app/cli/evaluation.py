"""Evaluation of ranking quality: rerank a test collection and compare the methods with cosine, query by query."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.ranking.methods import Method
from app.ranking.reranker import Ranking, Reranker
from retrieval.encoder.chunks import splitter
from retrieval.encoder.prepare import Progress
from retrieval.encoder.protocol import Encoder
from retrieval.errors import CollectionError, DataError
from retrieval.evaluation.beir import BeirDataset, Query
from retrieval.evaluation.metrics import Qrels, Run, mean, mrr, ndcg, recall
from retrieval.evaluation.significance import Paired, paired_test
from retrieval.fusion import ranking as best_first
from retrieval.index.first_stage import BOTH, FirstStage
from retrieval.index.segment import FORMAT, Segment, build
from retrieval.text.languages import AUTO
from retrieval.text.splitters import WHOLE, Chunking

SearchResult = tuple[NDArray[np.int64], Ranking]  # (k,) positions in the collection, and their ranking

Stage = Literal["dense", "lexical", "both"]
BASELINE: Method = "classical"
BM25 = "bm25"  # an additional row in every table: BM25 over the same candidates
_DEPTH = 10
_NOT_PLAIN = re.compile(r"[^\w.-]++", re.ASCII)  # characters that a folder name must not have
_NAME_CHARACTERS = 40  # of the dataset's name in the folder name


@dataclass(frozen=True)
class Scores:
    """The metrics of one method: means over the queries, and nDCG@10 per query for the paired test."""

    ndcg: float
    mrr: float
    recall: float
    ms_per_query: float
    by_query: NDArray[np.float64]  # (q,) nDCG@10


@dataclass(frozen=True)
class SearchOptions:
    """How the queries of an evaluation are searched."""

    candidates: int = 100  # that are retrieved and reranked for each query
    encode_limit: int | None = None  # that are encoded, the best by BM25; None for all
    first_stage: FirstStage = BOTH
    stage: Stage = "both"  # what it is called
    # Whether the results may contain the document with the query's id. By default they do not, as in BEIR: in ArguAna
    # that document is the query itself.
    keep_identical_ids: bool = False


@dataclass(frozen=True)
class Evaluation:
    """One collection's results."""

    dataset: str
    encoder: str  # runtime and precision of the encoder
    queries: int
    candidates: int
    first_stage: Stage
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


def open_dataset(
    dataset: BeirDataset,
    encoder: Encoder,
    cache: Path,
    progress: Progress,
    chunking: Chunking = WHOLE,
    language: str = AUTO,
) -> Segment:
    """Open the dataset's documents as a collection, built once per content, model, arithmetic and chunking.

    Args:
        dataset: Its documents are indexed; the number of each is its place.
        encoder: Encodes the documents.
        cache: The folder of such collections.
        progress: Called during the build.
        chunking: How long documents are split.
        language: Of the documents, for that.
    """
    split = splitter(encoder, chunking, language)
    chunking = split.chunking
    content = hashlib.sha256(repr((dataset.document_ids, dataset.documents)).encode()).hexdigest()
    name = _NOT_PLAIN.sub("-", dataset.name)[:_NAME_CHARACTERS]
    chunks = "" if chunking == WHOLE else f"-{chunking.by}-{chunking.size}-{chunking.overlap}-{language}"
    folder = cache / f"{name}-{FORMAT}-{content[:12]}-{encoder.digest[:12]}-{encoder.arithmetic}{chunks}"
    if not folder.exists():
        passages = [passage for some in split.passages(dataset.passages) for passage in some]
        build(folder, passages, encoder, lambda done, total: progress(f"encoding {dataset.name}", done, total))
    try:
        return Segment(folder)
    except CollectionError as error:
        raise CollectionError(f"{folder} cannot be used: {error}; delete it, and it is made again") from error


def judged_queries(dataset: BeirDataset, exclusions: Sequence[Query] = ()) -> list[Query]:
    """The queries that have a relevant document; DataError if there is none.

    exclusions: queries that replace the dataset's, with the same ids.
    """
    queries = exclusions or [Query(i, text, ()) for i, text in zip(dataset.query_ids, dataset.queries, strict=True)]
    judged = [query for query in queries if any(grade > 0 for grade in dataset.qrels.get(query.id, {}).values())]
    if not judged:
        raise DataError(f"{dataset.name}: none of the {len(queries)} queries has a relevant document in its qrels")
    return judged


def evaluate(
    reranker: Reranker,
    dataset: BeirDataset,
    collection: Segment,
    queries: Sequence[Query],
    methods: Sequence[Method],
    progress: Progress,
    options: SearchOptions = SearchOptions(),
) -> Evaluation:
    """Rerank the candidates of every query by each method, and compare it with `classical` by a paired test.

    Args:
        reranker: Retrieves and reranks.
        dataset: Its judgements are used.
        collection: The dataset's documents, from `open_dataset`.
        queries: From `judged_queries`.
        methods: The methods to compare.
        progress: Called after each query.
        options: How they are searched.
    """
    qrels = {query.id: dataset.qrels[query.id] for query in queries}
    own_positions = {} if options.keep_identical_ids else own_documents(dataset)
    candidates = options.candidates
    results: dict[str, Scores] = {}
    for method in methods:
        runs = _Runs()
        search = partial(
            reranker.search,
            candidates=candidates,
            method=method,
            encode_limit=options.encode_limit,
            first_stage=options.first_stage,
            grouped=True,
        )
        for done, query in enumerate(queries):
            progress(f"{dataset.name}: {method}", done, len(queries))
            runs.add(query, collection, partial(search, leave_out=own_positions.get(query.id)))
        progress(f"{dataset.name}: {method}", len(queries), len(queries))
        results[method] = _score(runs.method, qrels, candidates, runs.ms / len(queries))
        results.setdefault(BM25, _score(runs.bm25, qrels, candidates, runs.prescore_ms / len(queries)))
    paired = {
        f"{name} vs {BASELINE}": paired_test(scores.by_query, results[BASELINE].by_query)
        for name, scores in results.items()
        if BASELINE in results and name != BASELINE
    }
    arithmetic = reranker.encoder.arithmetic
    return Evaluation(dataset.name, arithmetic, len(queries), candidates, options.stage, results, paired)


@dataclass
class _Runs:
    """The rankings of one method, and of BM25 over the same candidates, by query; times are totals."""

    method: Run = field(default_factory=dict)
    bm25: Run = field(default_factory=dict)
    ms: float = 0.0
    prescore_ms: float = 0.0

    def add(self, query: Query, collection: Segment, search: Callable[..., SearchResult]) -> None:
        start = time.perf_counter()
        positions, ranking = search(query.text, collection, exclude=query.exclude)
        self.ms += (time.perf_counter() - start) * 1e3
        self.prescore_ms += ranking.timings_ms["prescore"]
        ids = [passage.id for passage in collection.passages(positions)]
        self.method[query.id] = [ids[i] for i in ranking.order]
        self.bm25[query.id] = list(dict.fromkeys(ids[i] for i in best_first(ranking.rankers["lexical"])))


def own_documents(dataset: BeirDataset) -> dict[str, int]:
    """By query id: the number of the document with the same id.

    A document that is judged relevant to the query is another text whose id happens to be equal, and is not included.
    """
    positions = {document_id: position for position, document_id in enumerate(dataset.document_ids)}
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
