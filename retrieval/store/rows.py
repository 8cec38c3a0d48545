"""The rows of a collection's tables, as Python knows them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_LEVELS = 200  # of metadata; orjson writes 254, and responses add some around it


@dataclass(frozen=True)
class Document:
    """A text that is kept under an id."""

    id: str
    text: str
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> bytes:
        """The hash of what is encoded: title and text."""
        return digest_of(f"{self.title}\0{self.text}".encode())


def digest_of(content: bytes) -> bytes:
    """Return the hash of a document's title and text, in UTF-8 with U+0000 between them."""
    return hashlib.blake2b(content, digest_size=16).digest()


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """ValueError for metadata that cannot be kept: it is nested too deep, or a name of a field holds U+0000."""
    _check(metadata, MOST_LEVELS)


def _check(value: Any, levels: int) -> None:
    if levels == 0:
        raise ValueError(f"is nested deeper than {MOST_LEVELS} levels")
    if isinstance(value, Mapping):
        if any("\0" in name for name in value):  # where SQLite ends the name: a filter would take it for another one
            raise ValueError("has a name with the character U+0000")
        value = value.values()
    for each in value:
        if isinstance(each, Mapping | list):
            _check(each, levels - 1)


@dataclass(frozen=True)
class Waiting:
    """A document that is not indexed yet."""

    number: int
    document: Document


@dataclass(frozen=True)
class SegmentRow:
    """A segment as the database knows it."""

    number: int
    live: NDArray[np.bool_]  # (n,) whether each passage is part of the collection


@dataclass(frozen=True)
class Counts:
    """How much is in a collection."""

    documents: int
    waiting: int  # documents whose content is not searchable yet
    passages: int  # that are searchable
    failed: int  # documents that the model cannot encode
