"""Candidates under a name that no dialect has. Were they ignored, a collection would be ranked in their place."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from app.errors import InvalidRequest

_NAME_CHARACTERS = 64
_ONE = "article candidate chunk content context doc document input paragraph passage sentence snippet text"
_NAMES = {name + plural for name in _ONE.split() for plural in ("", "s")}


def refuse_misnamed(fields: Mapping[str, Any], known: Collection[str]) -> None:
    """InvalidRequest names the first field of a body without documents that holds candidates, and says what to send.

    Args:
        fields: The body.
        known: Names of fields that are read, lists of texts among them.
    """
    for name, value in fields.items():
        if name not in known and _are_candidates(name, value):
            shown = name[:_NAME_CHARACTERS]
            raise InvalidRequest(
                f"`{shown}` holds texts, and a field of this name is not read: send them as `documents`, or leave "
                f"`{shown}` out to search a collection",
                (shown,),
            )


def _are_candidates(name: str, value: object) -> bool:
    """Whether a client may want this ranked.

    A list of texts or objects: under every name. One text, an object of them, or no text at all: under a name that
    speaks of texts, since there are many that are no candidates (a user, a filter, an instruction). Any object with a
    `text`, or with such a list.
    """
    named = name.lower() in _NAMES
    if isinstance(value, list):
        return (named and not value) or any(isinstance(item, str | dict) or _are_candidates("", item) for item in value)
    if isinstance(value, dict):
        return isinstance(value.get("text"), str) or any(
            named if isinstance(item, str) else (named or key.lower() in _NAMES) and _are_candidates(key, item)
            for key, item in value.items()
        )
    return named and isinstance(value, str) and bool(value)
