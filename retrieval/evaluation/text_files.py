"""Reading files that people made: UTF-8, and JSON lines. DataError names the file, the line and the remedy."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import orjson

from retrieval.errors import DataError
from retrieval.text.sentences import VISIBLE

V = TypeVar("V")

_MARK = b"\xef\xbb\xbf"  # some editors begin a file with it
_STANDARD_INPUT = Path("-")


def read_text(path: Path) -> str:
    """The text of a UTF-8 file; - is standard input."""
    data = _read(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a UTF-8 file that are not blank, each with its place, "file:line"."""
    for place, line in _lines(path):
        try:
            yield place, line.decode()
        except UnicodeDecodeError as error:
            raise DataError(f"{place}: not UTF-8 at byte {error.start} of the line; save the file as UTF-8") from error


def read_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a JSON Lines file, each with its place, "file:line"; blank lines are passed over."""
    for place, line in _lines(path):
        try:
            record = orjson.loads(line)  # refuses what is not UTF-8, and lone surrogates, which cannot be written again
        except orjson.JSONDecodeError as error:
            raise DataError(f"{place}: not JSON ({error}); each line must be one object in UTF-8") from error
        if not isinstance(record, dict):
            raise DataError(f"{place}: each line must be one JSON object, this is something else")
        yield place, record


def id_of(record: dict[str, Any], place: str) -> str:
    """A record's "_id", which must be a text, or a number as some converters write: then its digits."""
    if "_id" not in record:
        raise DataError(f'{place}: there is no "_id"; judgements name documents and queries by it')
    name = record["_id"]
    if isinstance(name, bool) or not isinstance(name, str | int) or name == "":
        raise DataError(f'{place}: "_id" must be a non-empty string')
    return str(name)


def text_of(record: dict[str, Any], key: str, place: str, *, blank: bool = True) -> str:
    """A record's text of this name. blank: whether it may be."""
    text = record.get(key)
    if not isinstance(text, str) or (not VISIBLE.search(text) and not blank):
        raise DataError(f'{place}: "{key}" must be a {"" if blank else "non-blank "}string')
    return text


def add_once(found: dict[str, V], name: str, value: V, place: str) -> None:
    """Put a value under an id that is new."""
    if name in found:
        raise DataError(f"{place}: id {name!r} occurs twice; give each its own")
    found[name] = value


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    for number, line in enumerate(_read(path).removeprefix(_MARK).split(b"\n"), 1):
        if line.strip():
            yield f"{path}:{number}", line.rstrip(b"\r")


def _read(path: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if path == _STANDARD_INPUT else path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); is the path right?") from error
