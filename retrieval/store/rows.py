"""The rows of a collection's tables, as Python knows them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
        return hashlib.blake2b(f"{self.title}\0{self.text}".encode(), digest_size=16).digest()


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
