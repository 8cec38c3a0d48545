"""`qrerank index`: build and inspect collections."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from app.cli.options import known_language
from app.cli.progress import bar
from app.cli.terminal import out
from app.engine.loader import open_encoder
from app.settings import COLLECTION_NAME, Settings
from retrieval.encoder.prepare import Progress
from retrieval.encoder.protocol import Encoder
from retrieval.errors import CollectionError
from retrieval.evaluation.beir import read_passages
from retrieval.index.collection import Collection, build, check_encoder
from retrieval.index.integrity import IntegrityReport, verify
from retrieval.text.demo import demo_passages
from retrieval.text.passages import Passage

DEMO = "demo"
_PLAIN = re.compile(COLLECTION_NAME)
_NAME_BYTES = 255  # the maximum length of a folder name on common file systems
index = typer.Typer(help="Build and inspect collections.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The collection's name.")]


def folder_of(settings: Settings, name: str) -> Path:
    """The folder of a collection; an invalid name is a usage error."""
    if not _PLAIN.fullmatch(name) or len(name.encode()) > _NAME_BYTES:
        raise typer.BadParameter("a collection's name is up to 64 letters, digits, dots, dashes and underscores")
    return settings.collections_dir / name


def build_demo(settings: Settings, encoder: Encoder, report: Progress) -> None:
    """Build the demo collection from Python's documentation, unless a usable one exists."""
    folder = folder_of(settings, DEMO)
    if not _fits(folder, encoder):
        _build(folder, demo_passages(), encoder, report, "en")


def _fits(folder: Path, encoder: Encoder) -> bool:
    """Whether the collection exists and fits this version and this model."""
    try:
        check_encoder(Collection(folder), encoder)
    except CollectionError:
        return False
    return True


@index.command("build")
def build_command(
    name: Name,
    source: Annotated[Path, typer.Argument(exists=True, help="corpus.jsonl (BEIR), or a .txt or .md file.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a collection of this name.")] = False,
    language: Annotated[
        str | None,
        typer.Option(
            callback=known_language, help="Of the passages: a code such as de, none, or auto. Absent: QRERANK_LANGUAGE."
        ),
    ] = None,
) -> None:
    """Encode passages and index them. The collection is one folder under QRERANK_DATA_DIR."""
    settings = Settings() if language is None else Settings(language=language)
    folder = folder_of(settings, name)
    if name == DEMO:
        raise typer.BadParameter(f"{DEMO} is the collection of `serve --demo`; choose another name")
    if folder.exists() and not force:
        raise typer.BadParameter(f"collection {name} exists; --force replaces it")
    with bar("preparing") as report:
        _build(folder, list(read_passages(source)), open_encoder(settings, report), report, settings.language)
    stats(name)


@index.command()
def stats(name: Name) -> None:
    """Show a collection's content, size on disk and integrity. The exit status is 1 if it is damaged."""
    folder = folder_of(Settings(), name)
    collection = Collection(folder)
    spec, integrity = collection.spec, verify(collection)
    table = Table("collection", name, show_edge=False)
    table.add_row("passages", f"{spec.passages:,}")
    table.add_row("token states", f"{spec.tokens:,} of {spec.token_dimension} bytes")
    table.add_row("model", f"{spec.model} ({spec.arithmetic})")
    table.add_row("language", spec.language)
    table.add_row("on disk", f"{sum(file.stat().st_size for file in folder.iterdir()) / 2**20:.1f} MiB")
    table.add_row("folder", str(folder))
    table.add_row("integrity", _describe(integrity))
    out.print(table)
    if not integrity.holds:
        raise typer.Exit(1)


def _describe(integrity: IntegrityReport) -> str:
    if integrity.fault:
        return f"damaged: {integrity.fault}; build it again"
    return f"holds: recall@10 {integrity.recall:.3f} of {integrity.sampled} passages ({1e3 * integrity.seconds:.0f} ms)"


def _build(folder: Path, passages: list[Passage], encoder: Encoder, report: Progress, language: str) -> None:
    build(folder, passages, encoder, lambda done, total: report(f"indexing {folder.name}", done, total), language)
