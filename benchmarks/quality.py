"""How well we rank and how fast, beside a real cross-encoder: `python -m benchmarks.quality` prints the README's table.

Each query's nearest documents by FAISS are reranked by every method in turn, so all see the same candidates. Times are
of the whole ranking. "Not cached": every document is read anew, as a cross-encoder has to. "Indexed": the documents'
states lie in a collection, as they do in production; a cross-encoder has nothing to keep, so its time is the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
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
from app.cli.progress import bar
from app.engine.loader import open_encoder, processors_of
from app.ranking import Reranker
from app.ranking.methods import Method
from app.settings import Settings
from benchmarks.cross_encoder import NAME, CrossEncoder, fetch
from benchmarks.report import facts, number, percentile, table, watch_others
from retrieval.encoder.prepare import Progress
from retrieval.evaluation.beir import BeirDataset, load
from retrieval.evaluation.metrics import Run, mean, ndcg
from retrieval.index.first_stage import BY_NAME
from retrieval.index.segment import Segment

COLLECTIONS = Path(__file__).parents[2] / "shared" / "collections"
NAMES = ("scifact", "hotpotqa", "noveleval", "cacm")
METHODS: tuple[Method, ...] = ("classical", "quantum", "hybrid")
LABELS = {"classical": "`classical` (cosine)", "quantum": "`quantum`", "hybrid": "`hybrid`"}
CANDIDATES = 100

Order = NDArray[np.int64]  # the candidates' places, best first
Rank = Callable[[str, Sequence[str]], Order]


@dataclass
class Row:
    """What one method made of one collection's queries."""

    run: Run = field(default_factory=dict)
    cold_ms: list[float] = field(default_factory=list)
    indexed_ms: list[float] = field(default_factory=list)
    ndcg: float = 0.0


def measure(
    reranker: Reranker,
    other: Rank | None,
    dataset: BeirDataset,
    collection: Segment,
    queries: int | None,
    progress: Progress,
) -> dict[str, Row]:
    """Rank the first queries' candidates by every method, by label.

    Args:
        reranker: ours; without a cache, so that every document is read anew.
        other: the cross-encoder; None where there is none.
        dataset: the judgements.
        collection: the dataset's documents, indexed.
        queries: how many; None for all that have a relevant document.
        progress: told of each query.
    """
    chosen, own = judged_queries(dataset)[:queries], own_documents(dataset)
    ways: dict[str, Rank] = {LABELS[method]: partial(_ours, reranker, method) for method in METHODS}
    ways |= {NAME: other} if other else {}
    rows = {label: Row() for label in ways}
    nearest = partial(reranker.search, candidates=CANDIDATES, first_stage=BY_NAME["dense"])
    for done, query in enumerate(chosen):
        progress(dataset.name, done, len(chosen))
        for method in METHODS:
            start = time.perf_counter()
            places, _ = nearest(query.text, collection, method=method, leave_out=own.get(query.id))
            rows[LABELS[method]].indexed_ms.append(1e3 * (time.perf_counter() - start))
        passages = collection.passages(places)
        texts = [passage.content for passage in passages]
        for label, rank in ways.items():
            start = time.perf_counter()
            order = rank(query.text, texts)
            rows[label].cold_ms.append(1e3 * (time.perf_counter() - start))
            rows[label].run[query.id] = [passages[at].id for at in order]
    qrels = {query.id: dataset.qrels[query.id] for query in chosen}
    for row in rows.values():
        row.ndcg = mean(ndcg(row.run, qrels, 10))
    return rows


def _ours(reranker: Reranker, method: Method, query: str, texts: Sequence[str]) -> Order:
    return np.asarray(reranker.rerank(query, texts, method=method).order)


def cross_encoder() -> Rank:
    """The cross-encoder's order, ties by the candidates'; fetched now if it never was."""
    fetch()
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
        lines.append((label, *cells, *(number(percentile(ms, 0.5)) for ms in (cold, indexed))))
    return table(("method", *found, "ms, not cached", "ms, indexed"), lines)


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Collections; absent: {', '.join(NAMES)}.")] = None,
    collections: Annotated[Path, typer.Option(help="Where they are, in BEIR's layout.")] = COLLECTIONS,
    queries: Annotated[int | None, typer.Option(min=1, help="Of each collection, the first; absent: all.")] = None,
) -> None:
    """Print the table. Collections once encoded are kept in the user's cache folder."""
    settings, machine, others = Settings(), facts(), watch_others()
    found: dict[str, dict[str, Row]] = {}
    with bar("quality") as progress:
        encoder = open_encoder(settings, progress)
        reranker = Reranker(encoder, processors=processors_of(settings))
        reranker.warm_up()
        try:
            other = cross_encoder()
        except (RuntimeError, ImportError) as error:
            Console(stderr=True).print(f"without the cross-encoder: {error}", markup=False)
            other = None
        for name in names or NAMES:
            dataset = load(collections / name)
            collection = open_dataset(dataset, encoder, user_cache_path("quantum-rerank") / "evaluated", progress)
            found[name] = measure(reranker, other, dataset, collection, queries, progress)
    counts = ", ".join(f"{len(next(iter(rows.values())).run)} of {name}" for name, rows in found.items())
    print(f"{report(found)}\n")
    print(
        f"nDCG@10 over each query's {CANDIDATES} nearest candidates; queries: {counts}. Median milliseconds a query on "
        f"{machine['processor']}; others' work took {others():.2f} of them meanwhile."
    )


if __name__ == "__main__":
    typer.run(main)
