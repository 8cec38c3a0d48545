"""`qrerank evaluate`: measure ranking quality on a test collection."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from platformdirs import user_cache_path

from app.cli import tables
from app.cli.errors import naming
from app.cli.evaluation import evaluate as run
from app.cli.evaluation import judged_queries, open_dataset, own_documents
from app.cli.options import readable, writable
from app.cli.progress import bar
from app.cli.terminal import note, out
from app.engine.loader import open_reranker
from app.ranking.methods import METHODS, Method
from app.settings import Settings
from retrieval.evaluation.beir import BeirDataset, Query, load, load_exclusions


def _methods(text: str) -> list[Method]:
    chosen = [method for method in METHODS if method in text.split(",")]
    unknown = set(text.split(",")) - set(METHODS)
    if unknown or not chosen:
        raise typer.BadParameter(f"choose from {','.join(METHODS)}; unknown: {','.join(sorted(unknown))}")
    return chosen


def evaluate(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A collection in BEIR layout.")],
    methods: Annotated[str, typer.Option(help="Methods to compare, separated by commas.")] = ",".join(METHODS),
    candidates: Annotated[int, typer.Option(min=1, help="Documents retrieved and reranked for each query.")] = 100,
    encode_limit: Annotated[
        int | None, typer.Option(min=1, help="Encode only this many candidates, the best by BM25.")
    ] = None,
    split: Annotated[str, typer.Option(help="The split: judgements are read from qrels/SPLIT.tsv.")] = "test",
    keep_identical_ids: Annotated[
        bool, typer.Option("--keep-identical-ids", help="Keep the document that has the query's id.")
    ] = False,
    exclude_file: Annotated[
        Path | None,
        typer.Option(callback=readable, help='Lines {"_id", "text", "exclude": [...]}; replaces the queries.'),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", callback=writable, help="Also write the results to this file.")
    ] = None,
) -> None:
    """Retrieve with FAISS, rerank, and compare each method with cosine, query by query.

    Encoded collections are cached in the user's cache folder, under quantum-rerank/evaluated.
    """
    chosen = _methods(methods)
    dataset = load(folder, split)
    queries = judged_queries(dataset, load_exclusions(exclude_file) if exclude_file else ())
    with bar("preparing") as report:
        reranker = open_reranker(Settings(), report)
        collection = open_dataset(dataset, reranker.encoder, user_cache_path("quantum-rerank") / "evaluated", report)
        result = run(
            reranker,
            dataset,
            collection,
            queries,
            chosen,
            report,
            candidates=candidates,
            encode_limit=encode_limit,
            keep_identical_ids=keep_identical_ids,
        )
    for line in _notes(dataset, queries, keep_identical_ids=keep_identical_ids):
        note(line)
    if json_file:
        with naming(json_file):
            json_file.write_text(json.dumps(result.as_json(), indent=1) + "\n", encoding="utf-8")
    out.print(tables.evaluated(result))


def _notes(dataset: BeirDataset, queries: Sequence[Query], *, keep_identical_ids: bool) -> Iterator[str]:
    """Notes that explain the results."""
    yield from dataset.notes
    positions = own_documents(dataset)
    count = sum(query.id in positions for query in queries)
    if count and not keep_identical_ids:
        yield (
            f"{count} of {len(queries)} queries share their id with a document, which is excluded from their results; "
            "--keep-identical-ids keeps it"
        )
