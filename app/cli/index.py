"""`qrerank index`: build, change and inspect collections."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from app.cli.options import ChunkingChoice, ChunkOverlap, Chunks, ChunkSize, FilterOption, known_language, possible
from app.cli.progress import bar
from app.cli.terminal import out, print_line
from app.engine.loader import open_encoder
from app.settings import Settings, is_collection_name
from app.telemetry.printable import escaped
from retrieval.encoder.prepare import Progress
from retrieval.encoder.protocol import Encoder
from retrieval.errors import CollectionError, CollectionUnwritable
from retrieval.evaluation.beir import read_documents
from retrieval.index.milvus import find
from retrieval.index.milvus_client import Milvus
from retrieval.index.passage_index import Model, PassageIndex, check_encoder
from retrieval.store import compaction, indexer
from retrieval.store.aliases import aliases, drop, point
from retrieval.store.collection import Collection, remove
from retrieval.store.filters import Filter
from retrieval.store.pipeline import in_lists
from retrieval.text.demo import demo_passages
from retrieval.text.splitters import Chunking

DEMO = "demo"
_LET_OTHERS_S = 0.01  # between two parts of an encoding others may index
_PAGE = 1000  # documents that are exported at once
_JOBS = 100  # that are shown
index = typer.Typer(help="Build, change and inspect collections.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The collection's name.")]
Source = Annotated[Path, typer.Argument(exists=True, help="corpus.jsonl (BEIR), or a .txt or .md file.")]


def folder_of(settings: Settings, name: str) -> Path:
    """The folder of a collection; an invalid name is a usage error."""
    if not is_collection_name(name):
        raise typer.BadParameter("a collection's name is up to 64 letters, digits, dots, dashes and underscores")
    return settings.collections_dir / name


def milvus_of(settings: Settings) -> Milvus | None:
    """Where new collections are kept, beside the disk."""
    return settings.index.open(settings.engine.requests)


def opened(settings: Settings, name: str) -> Collection:
    """A collection whose documents are here."""
    return Collection(folder_of(settings, name), milvus_of(settings))


def searchable(settings: Settings, name: str, wanted: Filter | None = None) -> PassageIndex:
    """What can be searched of a collection, wherever its documents are; only those that a filter leaves."""
    if wanted is not None:
        collection = opened(settings, name)
        collection.snapshot().check_whole()
        return collection.select(wanted)
    milvus = milvus_of(settings)
    if milvus and not folder_of(settings, name).exists() and (found := find(milvus, name)):
        return found
    return _whole(opened(settings, name))


def _whole(collection: Collection) -> PassageIndex:
    """What can be searched of a collection that is not damaged; CollectionError if it is."""
    collection.snapshot().check_whole()
    return collection.searchable()


def build_demo(settings: Settings, encoder: Encoder, report: Progress) -> None:
    """Build the demo collection from Python's documentation, unless a usable one exists."""
    folder, milvus = folder_of(settings, DEMO), milvus_of(settings)
    if not _fits(folder, encoder, milvus):
        indexer.build(folder, demo_passages(), encoder, _reporting(report, DEMO), "en", milvus)


def _fits(folder: Path, encoder: Encoder, milvus: Milvus | None) -> bool:
    """Whether the collection exists and fits this version and this model."""
    try:
        check_encoder(_whole(Collection(folder, milvus)), encoder)
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
) -> None:
    """Encode passages and index them. The collection is one folder under QRERANK_DATA_DIR."""
    settings = Settings() if language is None else Settings(language=language)
    folder = folder_of(settings, name)
    if name == DEMO:
        raise typer.BadParameter(f"{DEMO} is the collection of `serve --demo`; choose another name")
    if folder.exists() and not (force or update):
        raise typer.BadParameter(
            f"collection {name} exists; --force replaces it, --update brings it up to date, and `qrerank index add` "
            "adds to it"
        )
    if folder.is_symlink():
        raise typer.BadParameter(f"{name} is an alias; choose another name, and let the alias lead to it")
    milvus = milvus_of(settings)
    if milvus and not folder.exists() and not (force or update) and find(milvus, name):
        raise typer.BadParameter(f"Milvus holds a collection {name} of another machine; --force takes its place")
    with bar("preparing") as report:
        encoder = open_encoder(settings, report)
        chunking = possible(encoder, ChunkingChoice(chunks, chunk_size, overlap).of(settings))
        reporting, documents = _reporting(report, name), read_documents(source)
        collection = _made_alike(folder, encoder, settings.language, chunking, milvus) if update else None
        if collection is None:
            indexer.build(folder, documents, encoder, reporting, settings.language, milvus, chunking)
        else:
            with _alone(collection):
                indexer.update(collection, documents, encoder, reporting)
    stats(name)


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
    made, wanted = collection.settings, (Model.of(encoder), language, chunking, milvus is not None)
    is_alike = (made.model, made.language, made.chunking, made.remote is not None) == wanted
    return collection if is_alike else None


@index.command()
def add(name: Name, source: Source) -> None:
    """Add passages, or replace those of the same id. What is unchanged is not encoded again.

    If it is interrupted, run it again: what is done stays done.
    """
    settings = Settings()
    collection = opened(settings, name)
    documents = read_documents(source)
    with bar("preparing") as report, _alone(collection):
        encoder = open_encoder(settings, report, collection.settings.model.name)
        changed = 0
        for some in in_lists(documents, indexer.PUT_AT_ONCE):
            changed += len(collection.put(some))
        indexer.index_all(collection, encoder, _reporting(report, name))
    out.print(f"{changed} documents are new or changed; {name} holds {collection.counts().documents}")


@index.command()
def delete(
    name: Name,
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of documents; none with --all.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete the collection.")] = False,
    wanted: FilterOption = None,
) -> None:
    """Delete documents by id or by a filter, or a whole collection."""
    settings = Settings()
    if [bool(ids), everything, wanted is not None].count(True) != 1:
        raise typer.BadParameter("give either the ids of documents, or --filter, or --all for the whole collection")
    if everything:
        collection = opened(settings, name)  # only a collection is deleted
        remove(collection.folder, collection.remote)
        out.print(f"deleted the collection {name}")
    elif wanted is not None:
        out.print(f"deleted {opened(settings, name).delete_where(wanted)} documents")
    else:
        out.print(f"deleted {opened(settings, name).delete(ids or [])} of {len(ids or [])} documents")


@index.command("list")
def list_command() -> None:
    """List all collections."""
    table = Table("collection", "documents", "passages", "model", "aliases", show_edge=False)
    settings = Settings()
    folder, milvus = settings.collections_dir, milvus_of(settings)
    names = aliases(folder)
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if not path.name.startswith(".") and not path.is_symlink():
            try:
                collection = Collection(path, milvus)
                counts = collection.counts()
                row = (f"{counts.documents:,}", f"{counts.passages:,}", escaped(collection.settings.model.name))
            except CollectionError as error:
                row = ("", "", escaped(str(error)))
            own = ", ".join(alias for alias, name in names.items() if name == path.name)
            table.add_row(escaped(path.name), *row, escaped(own))
    out.print(table)


@index.command()
def alias(
    name: Annotated[str, typer.Argument(help="The alias.")],
    collection: Annotated[str | None, typer.Argument(help="The collection; none with --delete.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete the alias. The collection stays.")] = False,
) -> None:
    """Let another name lead to a collection, or to another one than before: the next search uses it."""
    settings = Settings()
    folder = folder_of(settings, name).parent
    if (collection is None) != delete:
        raise typer.BadParameter("name the collection that the alias leads to, or --delete the alias")
    if collection is None:
        if not drop(folder, name):
            raise CollectionError(f"there is no alias {name}")
        out.print(f"deleted the alias {name}")
    else:
        opened(settings, collection).close()  # it leads to a collection that can be opened
        point(folder, name, collection)
        out.print(f"{name} leads to {collection}")


@index.command()
def jobs(name: Name) -> None:
    """Show what clients wrote to a collection, the newest first, and how far each write is."""
    table = Table("job", "kind", "status", "done", "rejected", "error", show_edge=False)
    for job in opened(Settings(), name).newest_jobs(_JOBS):
        done = f"{job.done:,} of {job.total:,}"
        table.add_row(f"{name}.{job.key}", job.kind, job.status, done, f"{job.rejected:,}", escaped(job.error or ""))
    out.print(table)


@index.command()
def export(name: Name, wanted: FilterOption = None) -> None:
    """Print documents, one JSON object per line, as `index add` reads them."""
    collection, after = opened(Settings(), name), 0
    while page := collection.page(after, _PAGE, wanted):
        after = page[-1][0]
        for _, document in page:
            content = {"_id": document.id, "title": document.title, "text": document.text}
            print_line(json.dumps(content | ({"metadata": document.metadata} if document.metadata else {})))


@index.command()
def stats(name: Name) -> None:
    """Show a collection's content, size on disk and integrity. The exit status is 1 if it is damaged."""
    collection = opened(Settings(), name)
    counts, model, faults = collection.counts(), collection.settings.model, compaction.damaged(collection)
    table = Table("collection", name, show_edge=False)
    notes = {"not indexed": counts.waiting, "that the model cannot encode": counts.failed}
    table.add_row(
        "documents", ", ".join([f"{counts.documents:,}", *(f"{n:,} {what}" for what, n in notes.items() if n)])
    )
    table.add_row("passages", f"{counts.passages:,}")
    table.add_row("model", f"{model.name} ({model.arithmetic})")
    if encoding := collection.encoding():
        table.add_row("next model", f"{encoding.model.name}: {encoding.done:,} of {encoding.total:,} documents")
    table.add_row("language", collection.settings.language)
    table.add_row("chunks", str(collection.settings.chunking))
    table.add_row("on disk", f"{collection.bytes() / 2**20:.1f} MiB")
    table.add_row("folder", str(collection.folder))
    table.add_row("journal", collection.journal())
    table.add_row("integrity", _described(faults))
    out.print(table)
    if faults:
        raise typer.Exit(1)


@index.command()
def verify(
    name: Name,
    repair: Annotated[bool, typer.Option("--repair", help="Index the documents of damaged segments again.")] = False,
) -> None:
    """Check that what is searched is what the documents say. The exit status is 1 if it is not."""
    settings = Settings()
    collection = opened(settings, name)
    faults = compaction.damaged(collection)
    if faults and repair:
        with bar("preparing") as report, _alone(collection):
            encoder = open_encoder(settings, report, collection.settings.model.name)
            compaction.repair(collection)
            indexer.index_all(collection, encoder, _reporting(report, name))
        faults = compaction.damaged(collection)
    out.print(_described(faults), highlight=False)
    if faults:
        raise typer.Exit(1)


@index.command()
def compact(name: Name) -> None:
    """Merge all segments into one, and give back the space of deleted documents."""
    collection = opened(Settings(), name)
    before = collection.bytes()
    with _alone(collection):
        compaction.merge(collection, all_of_it=True)
        collection.shrink()
    out.print(f"{before / 2**20:.1f} MiB before, {collection.bytes() / 2**20:.1f} MiB now")


@index.command()
def encode(
    name: Name,
    model: Annotated[str | None, typer.Option(help="Another model, for all documents.")] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Forget an encoding that is on its way.")] = False,
) -> None:
    """Encode all documents with another model. The old one serves until that is done.

    If it is interrupted, run it again: what is done stays done. A running service that serves both models helps.
    """
    if cancel == bool(model):
        raise typer.BadParameter("give --model, or --cancel")
    settings = Settings()
    collection = opened(settings, name)
    if model is None:
        out.print("cancelled" if collection.next.cancel() else "there is nothing to cancel")
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
            with indexer.indexing(collection) as alone:
                if alone:
                    indexer.encode_next(collection, encoder, lambda _: None)
            time.sleep(_LET_OTHERS_S)
    out.print(f"{name} is searched with {collection.settings.model.name}")


@contextmanager
def _alone(collection: Collection) -> Iterator[None]:
    """Hold the lock of the collection's indexer."""
    with indexer.indexing(collection) as alone:
        if not alone:
            raise CollectionError(
                f"another process writes to the collection {collection.name}; try again when it is done"
            )
        yield


def _reporting(report: Progress, name: str) -> indexer.Counting:
    return lambda done, total: report(f"indexing {name}", done, total)


def _described(faults: dict[int, str]) -> str:
    if not faults:
        return "holds"
    return (
        f"damaged: {'; '.join(escaped(fault) for fault in faults.values())}; `qrerank index verify --repair` mends it"
    )
