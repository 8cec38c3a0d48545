"""Arguments and options of several commands. Texts and files are checked before any work is done."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Unpack

import typer

from app.ranking.job import Options
from app.ranking.methods import CROSS_METHOD, RankMethod
from app.settings import Settings
from retrieval.encoder.chunks import Reading, splitter
from retrieval.encoder.protocol import Encoder
from retrieval.store.filters import Filter, FilterError, loads
from retrieval.text.languages import NONE, check_language
from retrieval.text.sentences import VISIBLE
from retrieval.text.splitters import By, Chunking

JUDGED = (
    'In BEIR layout: corpus.jsonl and queries.jsonl, {"_id", "text"} on each line, and qrels/SPLIT.tsv, on each line a '
    "query's id, a document's, and a grade, between tabs."
)


def utf8(value: str) -> str:
    """Decode an argument as UTF-8, also in an ASCII locale; a usage error if its bytes are not UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        try:
            return os.fsencode(value).decode()
        except UnicodeError:
            raise typer.BadParameter("it is not UTF-8; set the terminal to UTF-8") from None
    return value


def not_blank(value: str) -> str:
    """Decode an argument as UTF-8; a usage error if nothing of it can be seen."""
    value = utf8(value)
    if not VISIBLE.search(value):
        raise typer.BadParameter("it is empty; give a text")
    return value


def check_method(method: str, settings: Settings) -> None:
    """A usage error for a method that needs a cross-encoder, if none is set."""
    if method == CROSS_METHOD and not settings.cross_encoder.model:
        raise typer.BadParameter(f"{CROSS_METHOD} needs a cross-encoder: set QRERANK_CROSS_ENCODER__MODEL")


def readable(path: Path | None) -> Path | None:
    """Check that a file can be read, or is - for standard input; a usage error if not."""
    if path is not None and str(path) != "-":
        with _usage(path):
            path.stat()
            if path.is_dir():
                raise typer.BadParameter(f"{path} is a folder; give a file's path")
            if not os.access(path, os.R_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return path


def writable(path: Path | None) -> Path | None:
    """Check that a file can be written, without changing it; a usage error if not."""
    if path is not None:
        with _usage(path):
            if path.is_dir():
                raise typer.BadParameter(f"{path} is a folder; give a file's path")
            if str(path) == "-":
                raise typer.BadParameter("it goes into a file; give its path")
            if not path.exists():
                path.touch(exist_ok=False)
                path.unlink()
            elif path.is_file():  # opening a pipe would wait for a reader
                path.open("r+b").close()
    return path


def writable_or_out(path: Path | None) -> Path | None:
    """Check that a file can be written, or is - for standard output; a usage error if not."""
    return path if str(path) == "-" else writable(path)


def check_apart(**outputs: Path | None) -> None:
    """Refuse two options that name one file, since the second would replace what the first wrote."""
    options: dict[Path, str] = {}
    for option, path in outputs.items():
        if path and (other := options.setdefault(path.resolve(), option)) != option:
            raise typer.BadParameter(f"--{other} and --{option} name the same file; give two")


def known_language(language: str | None) -> str | None:
    """Check a language; a usage error for one that is not known."""
    try:
        return language and check_language(language)
    except ValueError as error:
        raise typer.BadParameter(f"it {error}") from None


def as_filter(text: str) -> Filter:
    """Parse a filter; a usage error if it is not valid."""
    try:
        return loads(text)
    except FilterError as error:
        raise typer.BadParameter(str(error)) from None


def options_of(settings: Settings, **others: Unpack[Options]) -> Options:
    """How the service ranks by these settings, but without a deadline. others: what the command line says."""
    of_all: Options = {
        "language": settings.language,
        "diversity": settings.diversity,
        "min_score": settings.min_score,
    }
    return {**of_all, **others}


def reading_of(settings: Settings) -> Reading:
    """What the service reads of each document that is sent."""
    return Reading(max_chunks=settings.limits.chunks_per_document)


@contextmanager
def _usage(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}; give another path") from error


Query = Annotated[str, typer.Argument(parser=not_blank, help="The query.")]
MethodOption = Annotated[
    RankMethod,
    typer.Option(
        help="classical: cosine; quantum: fidelity; hybrid: both and BM25; hybrid+cross: then a cross-encoder."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TopN = Annotated[int, typer.Option(min=1, help="Number of results.")]
Exclude = Annotated[
    list[str] | None, typer.Option(parser=not_blank, help="Text that results must not be about. May be repeated.")
]
Diversity = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="How much results differ from those before them: 0, by relevance alone, to 1. Absent: QRERANK_DIVERSITY.",
    ),
]
Chunks = Annotated[
    By | None,
    typer.Option(
        help="How documents are split: none, or where chunks end: character, token, sentence, recursive (paragraphs, "
        "else lines, sentences, words). Absent: QRERANK_CHUNKING__BY."
    ),
]
ChunkSize = Annotated[
    int | None,
    typer.Option(min=1, help="The most tokens of a chunk; of character, characters. Absent: as much as is read."),
]
ChunkOverlap = Annotated[
    int | None, typer.Option("--overlap", min=0, help="The most tokens (characters) that the next chunk repeats.")
]
FilterOption = Annotated[
    Filter | None,
    typer.Option(
        "--filter",
        parser=as_filter,
        metavar="JSON",
        help='Only documents whose metadata matches, such as {"eq": {"lang": "de"}}; see docs/collections.md.',
    ),
]


@dataclass(frozen=True)
class ChunkingChoice:
    """What the options say of chunks."""

    by: By | None = None
    size: int | None = None
    overlap: int | None = None

    def of(self, settings: Settings) -> Chunking:
        """The chunking that they ask for; without `by`, that of the settings with the sizes that are given."""
        chosen = settings.chunking.to_chunking() if self.by is None else Chunking(self.by)
        return replace(
            chosen,
            size=chosen.size if self.size is None else self.size,
            overlap=chosen.overlap if self.overlap is None else self.overlap,
        )


def possible(encoder: Encoder, chunking: Chunking) -> Chunking:
    """Check that documents can be split so for this model; a usage error if not."""
    try:
        splitter(encoder, chunking, NONE)
    except ValueError as error:
        raise typer.BadParameter(f"the chunks cannot be made: {error}") from None
    return chunking
