"""`qrerank index list|jobs|export|stats|verify`: what collections hold, and whether they are whole."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from app.api.dialects.jobs import describe_job
from app.cli.collection_access import Name, alone, milvus_of, opened, reporting
from app.cli.errors import check_data_dir
from app.cli.options import AsJson, FilterOption
from app.cli.progress import bar
from app.cli.terminal import print_line, show
from app.engine.loader import open_encoder
from app.settings import Settings
from app.telemetry.printable import escaped
from retrieval.errors import CollectionError
from retrieval.store import compaction, indexer
from retrieval.store.aliases import aliases
from retrieval.store.collection import Collection
from retrieval.store.rows import Counts

_PAGE = 1000  # documents that are exported at once
_JOBS = 100  # that are shown


def list_command(as_json: AsJson = False) -> None:
    """List all collections."""
    table = Table("collection", "documents", "passages", "model", "aliases", show_edge=False)
    settings = Settings()
    check_data_dir(settings)
    folder, milvus, data = settings.collections_dir, milvus_of(settings), list[dict[str, object]]()
    names = aliases(folder)
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith(".") or path.is_symlink():
            continue
        own = [alias for alias, name in names.items() if name == path.name]
        try:
            collection = Collection(path, milvus)
        except (CollectionError, OSError) as error:
            told = f"it cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
            data.append({"name": path.name, "error": told, "aliases": own})
            table.add_row(escaped(path.name), "", "", escaped(told), escaped(", ".join(own)))
            continue
        counts, model = collection.counts(), collection.settings.model.name
        data.append({"name": path.name, **asdict(counts), "model": model, "aliases": own})
        numbers = (_documents(counts), f"{counts.passages:,}")
        table.add_row(escaped(path.name), *numbers, escaped(model), escaped(", ".join(own)))
    show({"object": "list", "data": data}, table, as_json=as_json)


def jobs(name: Name, as_json: AsJson = False) -> None:
    """Show what clients wrote to a collection. The newest comes first, with how far each write is."""
    table = Table("job", "kind", "status", "done", "rejected", "error", show_edge=False)
    data = [describe_job(name, job) for job in opened(Settings(), name).newest_jobs(_JOBS)]
    for job in data:
        done = f"{job['done']:,} of {job['total']:,}"
        table.add_row(job["id"], job["kind"], job["status"], done, f"{job['rejected']:,}", escaped(job["error"] or ""))
    show({"object": "list", "data": data}, table, as_json=as_json)


def export(name: Name, wanted: FilterOption = None) -> None:
    """Print documents as `index add` reads them. One JSON object is on each line."""
    collection, after, printed = opened(Settings(), name), 0, set[str]()
    while page := collection.page(after, _PAGE, wanted):
        after = page[-1][0]
        for document in (each for _, each in page if each.id not in printed):
            printed.add(document.id)  # one that is changed meanwhile comes again, and `index add` refuses it twice
            content = {"_id": document.id, "title": document.title, "text": document.text}
            print_line(json.dumps(content | ({"metadata": document.metadata} if document.metadata else {})))


def stats(name: Name, as_json: AsJson = False) -> None:
    """Show a collection's content and integrity. The exit status is 1 if it is damaged."""
    collection = opened(Settings(), name)
    counts, settings, faults = collection.counts(), collection.settings, _damaged(collection)
    encoding = collection.encoding()
    value = {
        "name": name,
        **asdict(counts),
        "model": settings.model.name,
        "arithmetic": settings.model.arithmetic,
        "language": settings.language,
        "chunks": str(settings.chunking),
        "encoding": encoding and {"model": encoding.model.name, "done": encoding.done, "total": encoding.total},
        "bytes": collection.bytes(),
        "folder": str(collection.folder),
        "journal": collection.journal(),
        **_whole(faults.values()),
    }
    show(value, _table(collection, faults), as_json=as_json)
    if faults:
        raise typer.Exit(1)


def _table(collection: Collection, faults: dict[int, str]) -> Table:
    """What `stats` shows to people."""
    counts, model = collection.counts(), collection.settings.model
    table = Table("collection", collection.name, show_edge=False)
    table.add_row("documents", _documents(counts))
    table.add_row("passages", f"{counts.passages:,}")
    table.add_row("model", f"{model.name} (made with {model.arithmetic})")
    if encoding := collection.encoding():
        table.add_row("next model", f"{encoding.model.name}: {encoding.done:,} of {encoding.total:,} documents")
    table.add_row("language", collection.settings.language)
    table.add_row("chunks", str(collection.settings.chunking))
    table.add_row("on disk", f"{collection.bytes() / 2**20:.1f} MiB")
    table.add_row("folder", str(collection.folder))
    table.add_row("journal", collection.journal())
    table.add_row("integrity", _described(collection.name, faults))
    return table


def _documents(counts: Counts) -> str:
    """How many there are, and how many of them no search finds."""
    notes = {"not indexed": counts.waiting, "that the model cannot encode": counts.failed}
    return ", ".join([f"{counts.documents:,}", *(f"{n:,} {what}" for what, n in notes.items() if n)])


def verify(
    name: Name,
    repair: Annotated[bool, typer.Option("--repair", help="Index the documents of damaged segments again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check that a collection is whole. The exit status is 1 if documents are damaged, or what is derived from them."""
    settings = Settings()
    collection = opened(settings, name)
    with bar("reading every document"):
        lost = collection.fault()
    if lost:
        told = f"{name}: {escaped(lost)}; --repair cannot mend its documents: all else is derived from them"
        show({"name": name, **_whole([lost])}, told, as_json=as_json)
        raise typer.Exit(1)
    faults = _damaged(collection)
    if faults and repair:
        with bar("preparing") as report, alone(collection):
            encoder = open_encoder(settings, report, collection.settings.model.name)
            compaction.repair(collection)
            indexer.index_all(collection, encoder, reporting(report, name))
        faults = _damaged(collection)
    show({"name": name, **_whole(faults.values())}, f"{name}: {_described(name, faults)}", as_json=as_json)
    if faults:
        raise typer.Exit(1)


def _damaged(collection: Collection) -> dict[int, str]:
    with bar("reading every byte"):
        return compaction.misplaced(collection) | compaction.damaged(collection)


def _whole(faults: Iterable[str]) -> dict[str, object]:
    told = list(faults)
    return {"whole": not told, "faults": told}


def _described(name: str, faults: dict[int, str]) -> str:
    if not faults:
        return "holds"
    told = "; ".join(escaped(fault) for fault in faults.values())
    return f"damaged: {told}; `qrerank index verify {name} --repair` mends it"
