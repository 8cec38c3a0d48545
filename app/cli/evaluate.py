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
from app.cli.evaluation import Evaluation, SearchOptions, Stage, judged_queries, open_dataset, own_documents
from app.cli.evaluation import evaluate as run
from app.cli.options import ChunkOverlap, Chunks, ChunkSize, chunking_of, possible, readable, writable
from app.cli.progress import bar
from app.cli.terminal import note, out
from app.engine.loader import open_reranker
from app.ranking.methods import METHODS, Method
from app.settings import Settings
from retrieval.evaluation.beir import BeirDataset, Query, load, load_exclusions
from retrieval.index.first_stage import BY_NAME, FirstStage
from retrieval.text.splitters import Chunking


def _methods(text: str) -> list[Method]:
    chosen = [method for method in METHODS if method in text.split(",")]
    unknown = set(text.split(",")) - set(METHODS)
    if unknown or not chosen:
        raise typer.BadParameter(f"choose from {','.join(METHODS)}; unknown: {','.join(sorted(unknown))}")
    return chosen


def evaluate(
    folders: Annotated[list[Path], typer.Argument(exists=True, file_okay=False, help="Collections in BEIR layout.")],
    methods: Annotated[str, typer.Option(help="Methods to compare, separated by commas.")] = ",".join(METHODS),
    candidates: Annotated[int, typer.Option(min=1, help="Documents retrieved and reranked for each query.")] = 100,
    first_stage: Annotated[
        Stage, typer.Option(help="Candidates by meaning (FAISS), by words (BM25), or both as the settings fuse them.")
    ] = "both",
    encode_limit: Annotated[
        int | None, typer.Option(min=1, help="Encode only this many candidates, the best by BM25.")
    ] = None,
    chunks: Chunks = None,
    chunk_size: ChunkSize = None,
    overlap: ChunkOverlap = None,
    split: Annotated[str, typer.Option(help="The split: judgements are read from qrels/SPLIT.tsv.")] = "test",
    keep_identical_ids: Annotated[
        bool, typer.Option("--keep-identical-ids", help="Keep the document that has the query's id.")
    ] = False,
    exclude_file: Annotated[
        Path | None,
        typer.Option(callback=readable, help='Lines {"_id", "text", "exclude": [...]}; replaces the queries.'),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", callback=writable, help="Also write the results to this file; a list for several."),
    ] = None,
) -> None:
    """Retrieve, rerank, and compare each method with cosine, query by query.

    Encoded collections are cached in the user's cache folder, under quantum-rerank/evaluated.
    """
    chosen, settings = _methods(methods), Settings()
    if exclude_file and len(folders) > 1:
        raise typer.BadParameter("--exclude-file replaces the queries of one collection; give one folder")
    stage = FirstStage(**settings.first_stage.model_dump()) if first_stage == "both" else BY_NAME[first_stage]
    search = SearchOptions(candidates, encode_limit, stage, first_stage, keep_identical_ids=keep_identical_ids)
    sets = [load(folder, split) for folder in folders]
    queries = [judged_queries(each, load_exclusions(exclude_file) if exclude_file else ()) for each in sets]
    results = _run(settings, sets, queries, chosen, search, chunking_of(settings, chunks, chunk_size, overlap))
    for dataset, asked in zip(sets, queries, strict=True):
        for line in _notes(dataset, asked, keep_identical_ids=keep_identical_ids):
            note(line)
    if json_file:
        _write(results, json_file)
    for result in results:
        out.print(tables.evaluated(result))
    if len(results) > 1:
        out.print(tables.mean_gains(results))


def _run(
    settings: Settings,
    sets: Sequence[BeirDataset],
    queries: Sequence[Sequence[Query]],
    methods: Sequence[Method],
    search: SearchOptions,
    chunking: Chunking,
) -> list[Evaluation]:
    with bar("preparing") as report:
        reranker = open_reranker(settings, report)
        chunking = possible(reranker.encoder, chunking)
        cache = user_cache_path("quantum-rerank") / "evaluated"
        results = []
        for dataset, asked in zip(sets, queries, strict=True):
            collection = open_dataset(dataset, reranker.encoder, cache, report, chunking, settings.language)
            results.append(run(reranker, dataset, collection, asked, methods, report, search))
    return results


def _write(results: Sequence[Evaluation], path: Path) -> None:
    written = [result.as_json() for result in results]
    with naming(path):
        content = json.dumps(written if len(written) > 1 else written[0], indent=1)
        path.write_text(content + "\n", encoding="utf-8")


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
