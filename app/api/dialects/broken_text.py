"""Finds the field of an invalid JSON body whose text is not Unicode.

orjson reports only the byte at which it stopped, from which a client cannot tell which document is invalid. Only bodies
that orjson refused are searched, so valid ones cost nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_BYTES = 4 * 2**20  # larger bodies are not searched: the search holds the GIL
_MAX_VALUES = 100_000  # of a body that are searched
_DOCUMENTS = {"documents", "candidates"}
_NAME_CHARACTERS = 64

_HALF = (
    "holds half of a character (a lone surrogate such as \\ud83d): cut texts between characters, or send U+FFFD in its "
    "place"
)
_BYTES = "holds bytes that are not UTF-8: encode it as UTF-8"

Path = tuple["Path", str | int] | None  # a linked list, so that paths of deep values share their parents


def broken_text(body: bytes) -> str | None:
    """Name the first field whose text is not Unicode, and what to do; None if the body has another fault.

    Args:
        body: A body that orjson refused. Python's own parser accepts lone surrogates, and `surrogateescape` decodes
            bytes that are not UTF-8 into such surrogates.
    """
    is_utf8 = _is_utf8(body)
    if len(body) > _MAX_BYTES or (is_utf8 and b"\\u" not in body):
        return None
    try:
        fields = json.loads(body.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None
    for path, text in islice(_texts(fields), _MAX_VALUES):
        if _SURROGATE.search(text):
            return f"{_name(path)} {_HALF if is_utf8 else _BYTES}"
    return None


def _texts(fields: Any) -> Iterator[tuple[Path, str]]:
    """Every value's path and text, in the order of the body: a str itself, an object's names joined, else ""."""
    levels: list[Iterator[tuple[Path, Any]]] = [iter([(None, fields)])]
    while levels:
        path, value = next(levels[-1], (None, levels))
        if value is levels:  # the sentinel: this level is finished
            levels.pop()
        elif isinstance(value, dict):
            yield path, "".join(value)
            levels.append(_within(path, value.items()))
        elif isinstance(value, list):
            yield path, ""
            levels.append(_within(path, enumerate(value)))
        else:
            yield path, value if isinstance(value, str) else ""


def _within(path: Path, items: Iterable[tuple[str | int, Any]]) -> Iterator[tuple[Path, Any]]:
    return (((path, step), item) for step, item in items)


def _name(path: Path) -> str:
    """A field's name in a message: document 3, entry 0 of `texts`, `query.text`."""
    steps: list[str | int] = []
    while path is not None:
        path, step = path
        steps.append(step)
    steps.reverse()
    first_index = next((position for position, step in enumerate(steps) if isinstance(step, int)), len(steps))
    name = ".".join(str(step) for step in steps[:first_index])[:_NAME_CHARACTERS]
    if not name:
        return "the body"
    if first_index == len(steps):
        return f"`{name}`"
    entry = steps[first_index]
    return f"document {entry}" if steps[first_index - 1] in _DOCUMENTS else f"entry {entry} of `{name}`"


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
