"""How well we rank and how fast, beside a real cross-encoder: `python -m benchmarks quality` prints the README's table.

Each query's nearest documents by FAISS are reranked by every method in turn, so all see the same candidates. Times are
of the whole ranking. "Not cached": every document is read anew, as a cross-encoder has to. "Indexed": the documents'
states lie in a collection, as they do in production; a cross-encoder has nothing to keep, so its time is the same.

`hybrid+cross` is measured under a deadline: its cross-encoder runs in this process, under OpenVINO. The one that reads
all candidates runs under ONNX Runtime, as FlashRank has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from platformdirs import user_cache_path
from rich.console import Console

from app.cli.evaluation import judged_queries, open_dataset, own_documents
from app.cli.options import ChunkingChoice, possible
from app.cli.progress import bar
from app.engine.loader import open_encoder, processors_of
from app.ranking import Reranker
from app.ranking.cross_encoding import CrossEncoding
from app.ranking.methods import METHODS, RankMethod
from app.settings import Settings
from benchmarks.cross_encoder import MODEL, NAME, CrossEncoder, fetch
from benchmarks.report import facts, number, percentile, table, timed, watch_others
from retrieval.cross_encoder import cross_encoder as ours
from retrieval.cross_encoder.prepare import load_cross_encoder
from retrieval.deadline import Deadline
from retrieval.encoder.prepare import Progress
from retrieval.evaluation.beir import BeirDataset, load
from retrieval.evaluation.metrics import Run, ndcg
from retrieval.index.first_stage import BY_NAME
from retrieval.index.segment import Segment
from retrieval.text.passages import Passage
from retrieval.text.splitters import WHOLE

COLLECTIONS = Path(__file__).parents[2] / "shared" / "collections"  # in BEIR's layout
ENCODED = user_cache_path("quantum-rerank") / "evaluated"
NAMES = ("scifact", "hotpotqa", "noveleval", "cacm")
LABELS = {"classical": "`classical` (cosine)", "quantum": "`quantum`", "hybrid": "`hybrid`"}
CANDIDATES, TOP_K = 100, 10  # the latter are the documents that hybrid+cross reads
CROSSED = f"`hybrid+cross`, {TOP_K} documents"

Order = NDArray[np.int64]  # the candidates' places, best first
Rank = Callable[[str, Sequence[str]], Order]


@dataclass(frozen=True)
class Way:
    """One way of ours to rank."""

    reranker: Reranker
    method: RankMethod
    deadline_ms: float = 0  # of a search; 0: none


@dataclass
class Row:
    """What one method made of one collection's queries."""

    run: Run = field(default_factory=dict)
    cold_ms: list[float] = field(default_factory=list)
    indexed_ms: list[float] = field(default_factory=list)
    late: int = 0  # queries for which the cross-encoder had no time for all
    by_query: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))  # nDCG@10

    @property
    def ndcg(self) -> float:
        """The mean over the queries."""
        return float(self.by_query.mean())


def measure(
    ways: Mapping[str, Way],
    other: Rank | None,
    dataset: BeirDataset,
    collection: Segment,
    queries: int | None,
    progress: Progress,
    *,
    cold: bool = True,
) -> dict[str, Row]:
    """Rank the first queries' candidates in every way, by label.

    Args:
        ways: ours; without a cache, so that every document is read anew.
        other: the cross-encoder; None where there is none.
        dataset: the judgements.
        collection: the dataset's documents, indexed.
        queries: how many; None for all that have a relevant document.
        progress: told of each query.
        cold: whether the documents are also ranked as if they were new, which takes most of the time.
    """
    chosen, own = judged_queries(dataset)[:queries], own_documents(dataset)
    rows = {label: Row() for label in (*ways, *((NAME,) if other else ()))}
    passages: Sequence[Passage] = ()
    for done, query in enumerate(chosen):
        progress(dataset.name, done, len(chosen))
        for label, way in ways.items():
            search, row = partial(way.reranker.search, query.text, collection, method=way.method), rows[label]
            how = {"candidates": CANDIDATES, "first_stage": BY_NAME["dense"], "grouped": True}
            deadline = Deadline.after(way.deadline_ms / 1e3) if way.deadline_ms else Deadline()
            ms, (places, ranking) = timed(partial(search, leave_out=own.get(query.id), deadline=deadline, **how))
            row.indexed_ms += ms
            row.late += bool(ranking.dropped)
            passages = collection.passages(places)
            row.run[query.id] = [passages[at].id for at in ranking.order]
        texts = [passage.content for passage in passages]
        for label, way in ways.items() if cold else ():
            rows[label].cold_ms += timed(partial(way.reranker.rerank, query.text, texts, method=way.method))[0]
        if other:
            ms, order = timed(partial(other, query.text, texts))
            rows[NAME].cold_ms += ms
            rows[NAME].run[query.id] = list(dict.fromkeys(passages[at].id for at in order))
    qrels = {query.id: dataset.qrels[query.id] for query in chosen}
    for row in rows.values():
        row.by_query = np.array(list(ndcg(row.run, qrels, 10).values()))
    return rows


def ways_of(reranker: Reranker, cross: ours.CrossEncoder | None = None, deadline_ms: float = 0) -> dict[str, Way]:
    """The ways of a reranker, by label; with a cross-encoder, `hybrid+cross` under a deadline, too."""
    ways = {LABELS[method]: Way(reranker, method) for method in METHODS}
    if cross:
        crossed = copy(reranker)  # with its caches and processors
        crossed.cross = CrossEncoding(cross, TOP_K)
        ways[CROSSED] = Way(crossed, "hybrid+cross", deadline_ms)
    return ways


def cross_encoder() -> Rank:
    """The cross-encoder's order, ties by the candidates'."""
    model = CrossEncoder()
    return lambda query, texts: np.argsort(-model.scores(query, texts), kind="stable")


def report(found: dict[str, dict[str, Row]]) -> str:
    """The table: nDCG@10 of each collection, and the median milliseconds of a query over all of them."""
    best = {name: max(row.ndcg for row in rows.values()) for name, rows in found.items()}
    lines = []
    for label in next(iter(found.values())):
        scores = {name: rows[label].ndcg for name, rows in found.items()}
        cells = [f"**{score:.3f}**" if score == best[name] else f"{score:.3f}" for name, score in scores.items()]
        cold = [ms for rows in found.values() for ms in rows[label].cold_ms]
        indexed = [ms for rows in found.values() for ms in rows[label].indexed_ms] or cold
        times = (number(percentile(ms, 0.5)) if ms else "–" for ms in (cold, indexed))
        gain, error = gained(found, label)
        lines.append((label, *cells, f"{100 * gain:+.1f} ± {100 * error:.1f} %", *times))
    return table(("method", *found, "to hybrid", "ms, not cached", "ms, indexed"), lines)


def gained(found: Mapping[str, Mapping[str, Row]], label: str) -> tuple[float, float]:
    """The mean over collections of how much more nDCG@10 a row has than hybrid, and its standard error."""
    pairs = [(rows[label].by_query, rows[LABELS["hybrid"]].by_query) for rows in found.values()]
    gains = [row.mean() / hybrid.mean() - 1 for row, hybrid in pairs]
    errors = [(row - hybrid).std() / len(row) ** 0.5 / hybrid.mean() for row, hybrid in pairs]
    return float(np.mean(gains)), float(np.linalg.norm(errors) / len(errors))


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Collections; absent: {', '.join(NAMES)}.")] = None,
    queries: Annotated[int | None, typer.Option(min=1, help="Of each collection, the first; absent: all.")] = None,
    deadline_ms: Annotated[float, typer.Option(min=0, help="Of hybrid+cross; 0: none.")] = 400,
    indexed_only: Annotated[bool, typer.Option("--indexed-only", help="Only ours, with stored states.")] = False,
    split: Annotated[bool, typer.Option("--split", help="Split documents as a collection does by default.")] = False,
) -> None:
    """Print the table. Collections once encoded are kept in the user's cache folder."""
    settings, machine, others = Settings(), facts(), watch_others()
    found: dict[str, dict[str, Row]] = {}
    with bar("quality") as progress:
        encoder = open_encoder(settings, progress)
        reranker = Reranker(encoder, processors=processors_of(settings))
        reranker.warm_up()
        cross, other = None, None
        try:
            fetch()
            model = load_cross_encoder(str(MODEL), settings.model_dir, progress, streams=processors_of(settings))
            cross = ours.CrossEncoder(model)
            cross.warm_up()
            other = None if indexed_only else cross_encoder()
        except (RuntimeError, ImportError) as error:
            Console(stderr=True).print(f"without the cross-encoder: {error}", markup=False)
        ways = ways_of(reranker, cross, deadline_ms)
        for name in names or NAMES:
            dataset = load(COLLECTIONS / name)
            chunking = possible(encoder, ChunkingChoice().of(settings)) if split else WHOLE
            collection = open_dataset(dataset, encoder, ENCODED, progress, chunking, settings.language)
            found[name] = measure(ways, other, dataset, collection, queries, progress, cold=not indexed_only)
    counts = ", ".join(f"{len(next(iter(rows.values())).run)} of {name}" for name, rows in found.items())
    late = sum(rows[CROSSED].late for rows in found.values()) if cross else 0
    print(f"{report(found)}\n")
    within = f"within {deadline_ms:g} ms" if deadline_ms else "without a deadline"
    print(
        f"nDCG@10 over each query's {CANDIDATES} nearest candidates; queries: {counts}. Not all read {within}: "
        f"{late}. Median milliseconds a query on {machine['processor']}; others' work "
        f"took {others():.2f} of them meanwhile."
    )
