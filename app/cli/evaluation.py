"""Ranks the queries of test collections by every method and configuration, for `qrerank evaluate`."""

from __future__ import annotations

import hashlib
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.cli.configurations import Configuration
from app.cli.options import ChunkingChoice, options_of, possible
from app.cli.results import AT, Evaluation, Ranked, scored
from app.engine.loader import open_encoder, open_models
from app.ranking.methods import RankMethod
from app.ranking.reranker import Ranking, Reranker
from app.settings import Settings
from quantum.errors import QuantumError
from retrieval.encoder.chunks import splitter
from retrieval.encoder.prepare import Progress
from retrieval.encoder.protocol import Encoder
from retrieval.errors import CollectionError, DataError
from retrieval.evaluation.beir import BeirDataset, Query
from retrieval.evaluation.trec_runs import read_run
from retrieval.fusion import ranking as best_first
from retrieval.index.first_stage import BY_NAME, FirstStage
from retrieval.index.segment import FORMAT, Segment, build
from retrieval.text.languages import AUTO
from retrieval.text.splitters import WHOLE, Chunking

SearchResult = tuple[NDArray[np.int64], Ranking]  # (k,) positions in the collection, and their ranking

Stage = Literal["dense", "lexical", "both"]
BASELINE: RankMethod = "classical"
BM25 = "bm25"  # an additional row in every table: BM25 over the same candidates
_BEFORE = ("wait", "encode_query", "retrieve")  # stages of a search before its candidates are reranked
_NOT_PLAIN = re.compile(r"[^\w.-]++", re.ASCII)  # characters that a folder name must not have
_NAME_CHARACTERS = 40  # of the dataset's name in the folder name


@dataclass(frozen=True)
class SearchOptions:
    """How the queries of an evaluation are searched."""

    candidates: int | None = None  # retrieved and reranked for each query; None: as many as the settings say
    encode_limit: int | None = None  # that are encoded, the best by BM25; None for all
    stage: Stage = "both"  # candidates by meaning, by words, or both as the settings fuse them
    # Whether the results may contain the document with the query's id. By default they do not, as in BEIR: in ArguAna
    # that document is the query itself.
    keep_identical_ids: bool = False
    chunking: ChunkingChoice = field(default_factory=ChunkingChoice)

    def first_stage(self, settings: Settings) -> FirstStage:
        """What retrieves the candidates."""
        return settings.first_stage.to_first_stage() if self.stage == "both" else BY_NAME[self.stage]

    def overridden(self) -> dict[str, str]:
        """The settings that have no effect beside these options, and the option of each."""
        given = {
            "candidates": ("--candidates", self.candidates),
            "first_stage": ("--first-stage", None if self.stage == "both" else self.stage),
            "chunking": ("--chunks", self.chunking.by),
            "chunking.size": ("--chunk-size", self.chunking.size),
            "chunking.overlap": ("--overlap", self.chunking.overlap),
        }
        return {setting: option for setting, (option, value) in given.items() if value is not None}


@dataclass(frozen=True)
class Case:
    """A test collection, the queries to rank, and how others ranked them."""

    dataset: BeirDataset
    queries: Sequence[Query]
    judgements: str  # what they are
    runs: Mapping[str, Ranked] = field(default_factory=dict)


def evaluate(
    configurations: Sequence[Configuration],
    cases: Sequence[Case],
    methods: Sequence[RankMethod],
    baseline: str,
    options: SearchOptions,
    cache: Path,
    progress: Progress,
) -> list[Evaluation]:
    """Rank the queries of all cases by every method with each configuration, and compute the metrics.

    Args:
        configurations: The first is what the others are compared with.
        cases: The collections.
        methods: The methods to compare.
        baseline: The name of the ranking that all are compared with.
        options: How the queries are searched.
        cache: The folder of encoded collections.
        progress: Called before and after every query.
    """
    rows: list[dict[str, Ranked]] = [{} for _ in cases]
    opened = [  # all before any ranks: what is wrong with the last one is said at once
        (configuration, reranker, possible(reranker.encoder, options.chunking.of(configuration.settings)))
        for configuration, reranker in _rerankers(configurations, progress)
    ]
    for configuration, reranker, chunking in opened:
        settings, suffix = configuration.settings, configuration.name and AT + configuration.name
        search = partial(
            reranker.search,
            candidates=options.candidates or settings.candidates,
            first_stage=options.first_stage(settings),
            grouped=True,
            **options_of(settings, encode_limit=options.encode_limit),
        )
        for case, found in zip(cases, rows, strict=True):
            place = open_dataset(case.dataset, reranker.encoder, cache, progress, chunking, settings.language)
            ranked = rank(search, case, place, methods, progress, keep_identical_ids=options.keep_identical_ids)
            if suffix:
                ranked.pop(BM25)
            found.update({name + suffix: each for name, each in ranked.items()})
    k = options.candidates or max(configuration.settings.candidates for configuration in configurations)
    encoder = opened[0][1].encoder
    return [
        _evaluation(case, found, encoder, options.stage, k, baseline) for case, found in zip(cases, rows, strict=True)
    ]


def _evaluation(
    case: Case, found: Mapping[str, Ranked], encoder: Encoder, stage: Stage, k: int, baseline: str
) -> Evaluation:
    """The metrics of all rankings of a case at k candidates. found: ours, by name. encoder: the first one."""
    qrels = {query.id: case.dataset.qrels[query.id] for query in case.queries}
    return Evaluation(
        case.dataset.name,
        case.judgements,
        encoder.name,
        encoder.arithmetic,
        stage,
        k,
        {query.id: query.text for query in case.queries},
        scored({**found, **case.runs}, qrels, k),
        baseline,
    )


def _rerankers(configurations: Sequence[Configuration], progress: Progress) -> Iterator[tuple[Configuration, Reranker]]:
    """Open the reranker of each configuration; neighbours with the same encoder share it."""
    last, encoder = None, None
    for configuration in configurations:
        settings = configuration.settings.model_copy(update={"models": (), "aliases": {}})
        of_encoder = (settings.model, settings.model_dir, settings.encoder, settings.engine)
        if encoder is None or of_encoder != last:
            last, encoder = of_encoder, open_encoder(settings, progress)
        yield configuration, open_models(settings, progress, {settings.model: encoder}).default


def open_dataset(
    dataset: BeirDataset,
    encoder: Encoder,
    cache: Path,
    progress: Progress,
    chunking: Chunking = WHOLE,
    language: str = AUTO,
) -> Segment:
    """Open the dataset's documents as a collection, built once per content, model, arithmetic, chunking and language.

    Args:
        dataset: Its documents are indexed; the number of each is its place.
        encoder: Encodes the documents.
        cache: The folder of such collections.
        progress: Called during the build.
        chunking: How long documents are split.
        language: Of the documents, for that and for their words.
    """
    split = splitter(encoder, chunking, language)
    chunking = split.chunking
    content = hashlib.sha256(repr(list(dataset.passages)).encode()).hexdigest()
    name = _NOT_PLAIN.sub("-", dataset.name)[:_NAME_CHARACTERS]
    chunks = "" if chunking == WHOLE else f"-{chunking.by}-{chunking.size}-{chunking.overlap}"
    made_by = f"{encoder.digest[:12]}-{encoder.arithmetic}{chunks}-{language}"
    folder = cache / f"{name}-{FORMAT}-{content[:12]}-{made_by}"
    if not folder.exists():
        passages = [passage for some in split.passages(dataset.passages) for passage in some]
        build(folder, passages, encoder, partial(progress, f"encoding {dataset.name}"), language)
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


def rank(
    search: Callable[..., SearchResult],
    case: Case,
    collection: Segment,
    methods: Sequence[RankMethod],
    progress: Progress,
    *,
    keep_identical_ids: bool = False,
) -> dict[str, Ranked]:
    """Rank the candidates of every query by each method, and by BM25.

    Args:
        search: A reranker's, with all options but the query's.
        case: The queries.
        collection: The case's documents, from `open_dataset`.
        methods: The methods.
        progress: Called before and after every query.
        keep_identical_ids: Whether a query may find the document of its own id.
    """
    own = {} if keep_identical_ids else own_documents(case.dataset)
    first, total = case.queries[0], len(case.queries)
    search(first.text, collection, method=methods[-1])  # the first of a process takes longer: it is not counted
    result: dict[str, Ranked] = {}
    for method in methods:
        recorder = _Recorder()
        for done, query in enumerate(case.queries):
            progress(f"{case.dataset.name}: {method}", done, total)
            try:
                recorder.add(query, collection, partial(search, method=method, leave_out=own.get(query.id)))
            except QuantumError as error:  # such as an exclusion that is the query itself
                raise DataError(f"{case.dataset.name}, query {query.id!r}: {error}") from error
        progress(f"{case.dataset.name}: {method}", total, total)
        result[method] = recorder.method
        result.setdefault(BM25, recorder.bm25)
    return result


@dataclass
class _Recorder:
    """The rankings of one method, and of BM25 over the same candidates."""

    run: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    words: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    ms: list[float] = field(default_factory=list)
    rerank_ms: list[float] = field(default_factory=list)
    words_ms: list[float] = field(default_factory=list)

    @property
    def method(self) -> Ranked:
        """Of the method."""
        return Ranked(self.run, self.ms, self.rerank_ms)

    @property
    def bm25(self) -> Ranked:
        """Of BM25."""
        return Ranked(self.words, self.words_ms, self.words_ms)

    def add(self, query: Query, collection: Segment, search: Callable[..., SearchResult]) -> None:
        """Search for one query."""
        start = time.perf_counter()
        positions, ranking = search(query.text, collection, exclude=query.exclude)
        ms, stages = (time.perf_counter() - start) * 1e3, ranking.timings_ms
        ids = [passage.id for passage in collection.passages(positions)]
        self.run[query.id] = [(ids[at], float(ranking.scores[at])) for at in ranking.order.tolist()]
        self.ms.append(ms)
        self.rerank_ms.append(ms - sum(stages.get(stage, 0.0) for stage in _BEFORE))
        words = ranking.rankers["lexical"]
        best: dict[str, float] = {}
        for at in best_first(words).tolist():
            best.setdefault(ids[at], float(words[at]))
        self.words[query.id] = list(best.items())
        self.words_ms.append(stages["prescore"])


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


def run_of(path: Path, dataset: BeirDataset, queries: Sequence[Query], keep_identical_ids: bool) -> Ranked:
    """Read how somebody else ranked the queries, from a TREC run file; DataError for one that is of other documents."""
    run = read_run(path, {query.id for query in queries}, set(dataset.document_ids))
    own = set() if keep_identical_ids else own_documents(dataset).keys()
    return Ranked({query: [each for each in run[query] if query not in own or each[0] != query] for query in run})


def sampled(queries: Sequence[Query], count: int | None, seed: int) -> Sequence[Query]:
    """Up to `count` queries at random, always the same for a seed, in their order; all for None."""
    if count is None or count >= len(queries):
        return queries
    chosen = sorted(random.Random(seed).sample(range(len(queries)), count))  # noqa: S311
    return [queries[at] for at in chosen]
