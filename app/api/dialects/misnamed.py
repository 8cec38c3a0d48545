"""Detection of documents in a field that no dialect has; if it were ignored, a collection would be ranked instead."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from app.errors import InvalidRequest

_NAME_CHARACTERS = 64
_SINGULAR = "article candidate chunk content context doc document input paragraph passage sentence snippet text"
_TEXT_NAMES = {name + plural for name in _SINGULAR.split() for plural in ("", "s")}


def refuse_misnamed(fields: Mapping[str, Any], known: Collection[str]) -> None:
    """InvalidRequest for the first unknown field of a body without documents that may hold the documents.

    Args:
        fields: The body.
        known: Names of fields that the service uses; they may hold lists of texts.
    """
    for name, value in fields.items():
        if name not in known and _are_candidates(name, value):
            field = name[:_NAME_CHARACTERS]
            raise InvalidRequest(
                f"`{field}` holds texts, and a field of this name is not read: send them as `documents`, or leave "
                f"`{field}` out to search a collection",
                (field,),
            )


def _are_candidates(name: str, value: object) -> bool:
    """Whether a value may be meant as documents to rank.

    True for a list of texts or objects, under any name, and for an object with a `text` or with such a list. A single
    text, an object of texts and an empty list count only under a name for texts, since under other names they are
    often no documents (a user, a filter, an instruction).
    """
    has_text_name = name.lower() in _TEXT_NAMES
    if isinstance(value, list):
        return (has_text_name and not value) or any(
            isinstance(item, str | dict) or _are_candidates("", item) for item in value
        )
    if isinstance(value, dict):
        return isinstance(value.get("text"), str) or any(
            has_text_name
            if isinstance(item, str)
            else (has_text_name or key.lower() in _TEXT_NAMES) and _are_candidates(key, item)
            for key, item in value.items()
        )
    return has_text_name and isinstance(value, str) and bool(value)
