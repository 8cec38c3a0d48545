"""Reads UTF-8 text and JSON Lines files of users. DataError names the file, the line and the remedy."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import orjson

from retrieval.errors import DataError
from retrieval.text.sentences import VISIBLE

V = TypeVar("V")

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some editors write it at the start of a file
_GZIP = b"\x1f\x8b"  # the start of such files, as runs and judgements are often given away
_STANDARD_INPUT = Path("-")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


def read_text(path: Path) -> str:
    """Read a UTF-8 file; - is standard input."""
    data = _read(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the non-blank lines of a UTF-8 file, each with its place, "file:line"."""
    for place, line in _lines(path):
        try:
            yield place, line.decode()
        except UnicodeDecodeError as error:
            raise DataError(f"{place}: not UTF-8 at byte {error.start} of the line; save the file as UTF-8") from error


def read_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of a JSON Lines file, each with its place, "file:line"; blank lines are skipped."""
    for place, line in read_lines(path):
        try:
            record = orjson.loads(line)  # fails for lone surrogates, which cannot be encoded
        except orjson.JSONDecodeError as error:
            raise DataError(f"{place}: not JSON ({error}); each line must be one object in UTF-8") from error
        if not isinstance(record, dict):
            raise DataError(f"{place}: each line must be one JSON object; this line is not")
        yield place, record


def id_of(record: dict[str, Any], place: str) -> str:
    """Return a record's "_id" as a string; a number, as some converters write, is accepted."""
    if "_id" not in record:
        raise DataError(f'{place}: there is no "_id"; judgements refer to documents and queries by it')
    value = record["_id"]
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise DataError(f'{place}: "_id" must be a non-empty string')
    return str(value)


def text_of(record: dict[str, Any], key: str, place: str, *, blank: bool = True) -> str:
    """Return the text in a record's field `key`; DataError if it is not a string. blank: whether it may be blank."""
    text = record.get(key)
    if key not in record:
        names = ", ".join(record)[:200]
        raise DataError(f'{place}: there is no "{key}" among its fields ({names}); rename the one that holds it')
    if not isinstance(text, str) or (not VISIBLE.search(text) and not blank):
        raise DataError(f'{place}: "{key}" must be a {"" if blank else "non-blank "}string')
    return text


def title_of(record: dict[str, Any], place: str) -> str:
    """Return a record's "title", which may be missing or null; DataError if it is anything but a string."""
    return "" if record.get("title") is None else text_of(record, "title", place)


def finite(text: str) -> float | None:
    """Return the finite decimal number that a text is; None if it is none."""
    value = float(text) if _NUMBER.fullmatch(text) else math.inf
    return value if math.isfinite(value) else None


def add_once(items: dict[str, V], name: str, value: V, place: str) -> None:
    """Add a value under a new id; DataError if the id exists."""
    if name in items:
        raise DataError(f"{place}: id {name!r} occurs twice; give each its own")
    items[name] = value


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    for number, line in enumerate(_read(path).removeprefix(_BYTE_ORDER_MARK).split(b"\n"), 1):
        if line.strip():
            yield f"{path}:{number}", line.rstrip(b"\r")


def _read(path: Path) -> bytes:
    try:
        data = sys.stdin.buffer.read() if path == _STANDARD_INPUT else path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if data.startswith(_GZIP):
        raise DataError(f"{path}: compressed by gzip; unpack it with gunzip")
    return data
