"""`qrerank index`: build, change and inspect collections."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from app.cli import collection_reports as reports
from app.cli.collection_access import Name, alone, folder_of, milvus_of, opened, reporting, serves, whole
from app.cli.options import (
    AsJson,
    ChunkingChoice,
    ChunkOverlap,
    Chunks,
    ChunkSize,
    FilterOption,
    known_language,
    possible,
)
from app.cli.progress import bar
from app.cli.terminal import note, show
from app.engine.loader import open_encoder
from app.settings import Settings
from retrieval.encoder.chunks import splitter
from retrieval.encoder.prepare import Progress
from retrieval.encoder.protocol import Encoder
from retrieval.errors import CollectionError, CollectionUnwritable
from retrieval.evaluation.beir import read_documents
from retrieval.index.milvus import find
from retrieval.index.milvus_client import Milvus
from retrieval.index.passage_index import Model, check_encoder
from retrieval.store import compaction, indexer
from retrieval.store.aliases import drop, point
from retrieval.store.collection import Collection, remove
from retrieval.store.connection import is_unreadable
from retrieval.store.pipeline import in_lists
from retrieval.text.demo import demo_passages
from retrieval.text.splitters import Chunking

DEMO = "demo"
_LET_OTHERS_S = 0.01  # between two parts of an encoding others may index
_SOURCE = (
    'A .jsonl file, {"_id", "title", "text", "metadata"} on each line, of which "text" is required; or a .txt or .md '
    "file, or a folder of these, split into documents of up to 120 words."
)
Source = Annotated[Path, typer.Argument(exists=True, help=_SOURCE)]

index = typer.Typer(help="Build, change and inspect collections.", no_args_is_help=True)
index.command("list")(reports.list_command)
index.command()(reports.jobs)
index.command()(reports.export)
index.command()(reports.stats)
index.command()(reports.verify)


def build_demo(settings: Settings, encoder: Encoder, report: Progress) -> None:
    """Build the demo collection from Python's documentation, unless a usable one exists."""
    folder, milvus = folder_of(settings, DEMO), milvus_of(settings)
    if not _fits(folder, encoder, milvus):
        chunking = settings.chunking.to_chunking()  # some passages have more tokens than the model reads
        count = reporting(report, DEMO)
        indexer.build(folder, demo_passages(), encoder, count, "en", milvus, chunking, replace=True)


def _fits(folder: Path, encoder: Encoder, milvus: Milvus | None) -> bool:
    """Whether the collection exists and fits this version and this model."""
    try:
        check_encoder(whole(Collection(folder, milvus)), encoder)
    except CollectionError:
        return False
    return True


@index.command("build")
def build_command(
    name: Name,
    source: Source,
    force: Annotated[bool, typer.Option("--force", help="Replace a collection of this name.")] = False,
    update: Annotated[
        bool,
        typer.Option("--update", help="As --force, but what is unchanged is not encoded again."),
    ] = False,
    language: Annotated[
        str | None,
        typer.Option(
            callback=known_language,
            help="Of the passages: a code such as de, none, or auto. Absent: QRERANK_LANGUAGE.",
        ),
    ] = None,
    chunks: Chunks = None,
    chunk_size: ChunkSize = None,
    overlap: ChunkOverlap = None,
    as_json: AsJson = False,
) -> None:
    """Encode passages and index them. The collection is one folder under QRERANK_DATA_DIR."""
    settings = Settings() if language is None else Settings(language=language)
    folder = folder_of(settings, name)
    if name == DEMO:
        raise typer.BadParameter(f"{DEMO} is the collection of `serve --demo`; choose another name")
    if folder.is_symlink():
        raise typer.BadParameter(f"{name} is an alias; choose another name, and let the alias lead to it")
    if folder.exists() and not (force or update):
        raise typer.BadParameter(
            f"collection {name} exists; --force replaces it, --update brings it up to date, and `qrerank index add` "
            "adds to it"
        )
    others = set[str]()
    documents, milvus = read_documents(source, others), milvus_of(settings)  # before a model is prepared
    if milvus and not folder.exists() and not (force or update) and find(milvus, name):
        raise typer.BadParameter(f"Milvus holds a collection {name} of another machine; --force takes its place")
    with bar("preparing") as report:
        encoder = open_encoder(settings, report)
        chunking = possible(encoder, ChunkingChoice(chunks, chunk_size, overlap).of(settings))
        count = reporting(report, name)
        collection = _made_alike(folder, encoder, settings.language, chunking, milvus) if update else None
        if collection is None:
            replace = force or update
            indexer.build(folder, documents, encoder, count, settings.language, milvus, chunking, replace=replace)
        else:
            with alone(collection):
                indexer.update(collection, documents, encoder, count)
    _note_others(others)
    reports.stats(name, as_json)


def _note_others(fields: set[str]) -> None:
    """Say which fields of a file were not kept: filters do not find them."""
    if fields:
        note(f"not kept: {', '.join(sorted(fields))[:200]}; move into `metadata` what filters shall test")


def _made_alike(
    folder: Path, encoder: Encoder, language: str, chunking: Chunking, milvus: Milvus | None
) -> Collection | None:
    """The collection, if it is there and what a document becomes in it is what a new one would make of it."""
    try:
        collection = Collection(folder, milvus)
    except CollectionUnwritable:
        raise
    except CollectionError:  # it is not there, damaged or of another version
        return None
    made, wanted = collection.settings, (Model.of(encoder), language, milvus is not None)
    is_alike = (made.model, made.language, made.remote is not None) == wanted
    if not is_alike:
        return None
    old, new = (splitter(encoder, each, language).chunking for each in (made.chunking, chunking))
    return collection if old == new else None


@index.command()
def add(name: Name, source: Source, as_json: AsJson = False) -> None:
    """Add passages, or replace those of an id. What is unchanged is not encoded again.

    If it is interrupted, run it again: what is done stays done.
    """
    settings = Settings()
    collection = opened(settings, name)
    others = set[str]()
    documents = read_documents(source, others)
    with bar("preparing") as report, alone(collection):
        encoder = open_encoder(settings, report, collection.settings.model.name)
        changed = 0
        for some in in_lists(documents, indexer.PUT_AT_ONCE):
            changed += len(collection.put(some))
        indexer.index_all(collection, encoder, reporting(report, name))
    _note_others(others)
    documents_now = collection.counts().documents
    told = f"{changed} documents are new or changed; {name} holds {documents_now}"
    show({"collection": name, "changed": changed, "documents": documents_now}, told, as_json=as_json)


@index.command()
def delete(
    name: Name,
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of documents; none with --all.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete the collection.")] = False,
    wanted: FilterOption = None,
    as_json: AsJson = False,
) -> None:
    """Delete documents, or a whole collection. Documents are named by ids or by a filter."""
    settings = Settings()
    if [bool(ids), everything, wanted is not None].count(True) != 1:
        raise typer.BadParameter("give either the ids of documents, or --filter, or --all for the whole collection")
    if everything:
        _delete_all(settings, name)
        show({"object": "collection.deleted", "name": name}, f"deleted the collection {name}", as_json=as_json)
        return
    if wanted is not None:
        deleted = opened(settings, name).delete_where(wanted)
        told = f"deleted {deleted} documents"
    else:
        deleted = opened(settings, name).delete(ids or [])
        told = f"deleted {deleted} of {len(ids or [])} documents"
    show({"object": "documents.deleted", "deleted": deleted}, told, as_json=as_json)


def _delete_all(settings: Settings, name: str) -> None:
    """Delete a collection, and nothing else; also one whose documents cannot be read."""
    try:
        remote = opened(settings, name).remote
    except CollectionError:
        if milvus_of(settings) or not is_unreadable(folder_of(settings, name)):  # Milvus may hold its passages
            raise
        remote = None
    remove(folder_of(settings, name), remote)


@index.command()
def alias(
    name: Annotated[str, typer.Argument(help="The alias.")],
    collection: Annotated[str | None, typer.Argument(help="The collection; none with --delete.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete the alias. The collection stays.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let another name lead to a collection. An alias may be moved: the next search uses the new one."""
    settings = Settings()
    folder = folder_of(settings, name).parent
    if (collection is None) != delete:
        raise typer.BadParameter("name the collection that the alias leads to, or --delete the alias")
    if collection is None:
        if not drop(folder, name):
            raise CollectionError(f"there is no alias {name}")
        told = f"deleted the alias {name}"
    else:
        opened(settings, collection).close()  # it leads to a collection that can be opened
        point(folder, name, collection)
        told = f"{name} leads to {collection}"
    show({"object": "alias", "alias": name, "collection": collection}, told, as_json=as_json)


@index.command()
def compact(name: Name, as_json: AsJson = False) -> None:
    """Merge all segments into one. The space of deleted documents is given back."""
    collection = opened(Settings(), name)
    before = collection.bytes()
    with bar("compacting"), alone(collection):
        compaction.merge(collection, all_of_it=True)
        collection.shrink()
    after = collection.bytes()
    told = f"{before / 2**20:.1f} MiB before, {after / 2**20:.1f} MiB now"
    show({"collection": name, "bytes_before": before, "bytes": after}, told, as_json=as_json)


@index.command()
def encode(
    name: Name,
    model: Annotated[str | None, typer.Option(help="Another model, for all documents.")] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Forget an encoding that is on its way.")] = False,
    as_json: AsJson = False,
) -> None:
    """Encode all documents with another model. The old one serves until that is done.

    If it is interrupted, run it again: what is done stays done. A running service that serves both models helps.
    """
    if cancel == bool(model):
        raise typer.BadParameter("give --model, or --cancel")
    settings = Settings()
    collection = opened(settings, name)
    if model is not None and not serves(settings, model):
        note(
            f"a service with these settings does not serve {model}: once {name} is encoded, it refuses to search it; "
            "add the model to QRERANK_MODELS and restart the service first"
        )
    if model is None:
        was_there = collection.next.cancel()
        told = "cancelled" if was_there else "there is nothing to cancel"
        show({"collection": name, "cancelled": was_there}, told, as_json=as_json)
        return
    with bar("preparing") as report:
        encoder = open_encoder(settings, report, model)
        try:
            begun = indexer.begin_encoding(collection, encoder, Model.of(encoder))
        except ValueError as error:
            raise CollectionError(str(error)) from error
        if begun is None:
            raise CollectionError(f"{name} is being encoded with another model; `--cancel` forgets that")
        while encoding := collection.encoding():
            report(f"encoding {name}", encoding.done, encoding.total)
            with indexer.indexing(collection) as is_alone:
                if is_alone:
                    indexer.encode_next(collection, encoder, lambda _: None)
            time.sleep(_LET_OTHERS_S)
    job = collection.job(begun)
    if job and job.error:
        raise CollectionError(f"{name} is not encoded with {model}: {job.error}")
    told = f"{name} is searched with {collection.settings.model.name}"
    show({"collection": name, "model": collection.settings.model.name}, told, as_json=as_json)
