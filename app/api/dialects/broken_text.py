"""Which field of a refused JSON body holds text that is not Unicode.

orjson says at which byte it stopped, and the client does not know its document by that. This is asked only about a
body that was refused, so the good ones do not pay for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")
_MOST_BYTES = 4 * 2**20  # of a body that is searched: meanwhile no other thread runs
_MOST_VALUES = 100_000  # that are looked at
_DOCUMENTS = {"documents", "candidates"}
_NAME_CHARACTERS = 64

_HALF = (
    "holds half of a character (a lone surrogate such as \\ud83d): cut texts between characters, or send U+FFFD in its "
    "place"
)
_BYTES = "holds bytes that are not UTF-8: encode it as UTF-8"

Path = tuple["Path", str | int] | None  # linked, since a deep value's path is as long as the value is deep


def broken_text(body: bytes) -> str | None:
    """The first field whose text is not Unicode, and what to do about it; None if another fault made it be refused.

    Args:
        body: What orjson refused. In Python's own parser lone surrogates pass, and with `surrogateescape` bytes that
            are not UTF-8 become some.
    """
    is_utf8 = _is_utf8(body)
    if len(body) > _MOST_BYTES or (is_utf8 and b"\\u" not in body):
        return None
    try:
        fields = json.loads(body.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None
    for path, text in islice(_texts(fields), _MOST_VALUES):
        if _SURROGATE.search(text):
            return f"{_name(path)} {_HALF if is_utf8 else _BYTES}"
    return None


def _texts(fields: Any) -> Iterator[tuple[Path, str]]:
    """Every value with its path, in the order of the body: a text as it is, an object as its names, else ""."""
    levels: list[Iterator[tuple[Path, Any]]] = [iter([(None, fields)])]
    while levels:
        path, value = next(levels[-1], (None, levels))
        if value is levels:  # the level is done
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
    """How a message calls a field: document 3, entry 0 of `texts`, `query.text`."""
    steps: list[str | int] = []
    while path is not None:
        path, step = path
        steps.append(step)
    steps.reverse()
    place = next((place for place, step in enumerate(steps) if isinstance(step, int)), len(steps))
    name = ".".join(str(step) for step in steps[:place])[:_NAME_CHARACTERS]
    if not name:
        return "the body"
    if place == len(steps):
        return f"`{name}`"
    return f"document {steps[place]}" if steps[place - 1] in _DOCUMENTS else f"entry {steps[place]} of `{name}`"


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
