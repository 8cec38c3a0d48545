"""What groups of settings are made of, and values that more than one of them has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from retrieval.text.languages import check_language

COLLECTION_NAME = r"\w[\w.-]{0,63}"  # one plain folder name
_NAME_BYTES = 255  # the maximum length of a folder name on common file systems
NAME_RULE = (
    "is up to 64 letters, digits, dots, dashes and underscores, at most 255 bytes, has no combining marks (an accent "
    "is one character with its letter), and does not begin with a dot or a dash"
)
_COLLECTION_NAME = re.compile(COLLECTION_NAME)

_HOST = r"^(\*|(\*\.)?[\w-]+(\.[\w-]+)*|[0-9A-Fa-f:.]+)$"
_HOST_NAME = re.compile(_HOST, re.ASCII)
_ORIGIN = r"^(\*|null|[a-z][a-z0-9+.-]*://[a-z0-9._:\[\]-]+)$"
_ORIGIN_NAME = re.compile(_ORIGIN)

Share = Annotated[float, Field(ge=0, le=1)]
Language = Annotated[str, AfterValidator(check_language)]


def is_collection_name(name: str) -> bool:
    """Whether a collection may have this name: its folder has it, too."""
    return _COLLECTION_NAME.fullmatch(name) is not None and len(name.encode()) <= _NAME_BYTES


def _check_collection_name(name: str) -> str:
    if not is_collection_name(name):
        raise ValueError(f"a name {NAME_RULE}")
    return name


# Pydantic's own patterns take more for a letter, such as vowel signs: the name must be one that a collection can have.
CollectionName = Annotated[
    str, AfterValidator(_check_collection_name), Field(json_schema_extra={"pattern": f"^{COLLECTION_NAME}$"})
]


def _check_host(name: str) -> str:
    if not _HOST_NAME.fullmatch(name):
        raise ValueError(
            "no request has such a host; write a name without scheme, port and path: a.example.org, *.example.org, *"
        )
    return name


def _check_origin(origin: str) -> str:
    if not _ORIGIN_NAME.fullmatch(origin):
        raise ValueError(
            "no browser sends such an origin; write scheme and host in small letters, without a path or a slash at the "
            "end: https://a.example.org"
        )
    return origin


HostName = Annotated[str, AfterValidator(_check_host), Field(json_schema_extra={"pattern": _HOST})]
Origin = Annotated[str, AfterValidator(_check_origin), Field(json_schema_extra={"pattern": _ORIGIN})]


def _expand(path: object) -> object:
    """A path with `~` for a home folder, which no shell expands in a file of variables."""
    if path == "":
        raise ValueError("it is empty, which would be the current folder: leave it out, or write .")
    try:
        return Path(path).expanduser() if isinstance(path, str) else path
    except RuntimeError as error:
        raise ValueError(f"{path}: there is no such home folder") from error


LocalPath = Annotated[Path, BeforeValidator(_expand)]


class Group(BaseModel):
    """Settings that belong together. They are frozen, and unknown names are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
