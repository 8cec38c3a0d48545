"""`qrerank evaluate`: the claim, checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from platformdirs import user_cache_path
from rich.console import Console

from app import tables
from app.evaluate import evaluate as run
from app.evaluate import open_dataset
from app.loading import open_reranker
from app.progress import bar
from app.scoring import METHODS, Method
from app.settings import Settings
from retrieval.beir import load, load_exclusions

out = Console()


def _methods(text: str) -> list[Method]:
    chosen = [method for method in METHODS if method in text.split(",")]
    unknown = set(text.split(",")) - set(METHODS)
    if unknown or not chosen:
        raise typer.BadParameter(f"choose from {','.join(METHODS)}; unknown: {','.join(sorted(unknown))}")
    return chosen


def evaluate(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A collection in BEIR layout.")],
    methods: Annotated[str, typer.Option(help="Which to compare, separated by commas.")] = ",".join(METHODS),
    candidates: Annotated[int, typer.Option(min=1, help="Documents retrieved and reranked for each query.")] = 100,
    encode_limit: Annotated[
        int | None, typer.Option(min=1, help="Score only so many by their states: the best by BM25.")
    ] = None,
    exclude_file: Annotated[
        Path | None, typer.Option(exists=True, help='Lines {"_id", "text", "exclude": [...]}; only these queries.')
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the results here as well.")] = None,
) -> None:
    """Retrieve with FAISS, rerank, and compare each method with cosine, query by query.

    Collections once encoded are kept in the user's cache folder, under quantum-rerank/evaluated.
    """
    chosen = _methods(methods)
    dataset = load(folder)
    exclusions = load_exclusions(exclude_file) if exclude_file else ()
    with bar("preparing") as report:
        reranker = open_reranker(Settings(), report)
        collection = open_dataset(dataset, reranker.encoder, user_cache_path("quantum-rerank") / "evaluated", report)
        result = run(
            reranker,
            dataset,
            collection,
            chosen,
            report,
            candidates=candidates,
            encode_limit=encode_limit,
            exclusions=exclusions,
        )
    out.print(tables.evaluated(result))
    if json_file:
        json_file.write_text(json.dumps(result.as_json(), indent=1) + "\n", encoding="utf-8")
