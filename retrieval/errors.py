"""What can go wrong in this package, and what went wrong last.

RetrievalError
├── ModelError        a model that is not there, not right, or cannot run here
├── EncodingError     a text that the model gave no usable vector for
├── CollectionError   a collection that is not there, damaged, or of another model
└── DataError         an input file that cannot be read; the message names the file, the line and the remedy
"""

from __future__ import annotations

import time
from dataclasses import dataclass


class RetrievalError(Exception):
    """The root; every message says what to do."""


class ModelError(RetrievalError):
    """A model that is not there, not right, or cannot run here."""


class EncodingError(RetrievalError):
    """A text that the model gave no usable vector for."""


class CollectionError(RetrievalError):
    """A collection that is not there, damaged, or of another model."""


class DataError(RetrievalError):
    """An input file that cannot be read as what it should be."""


@dataclass(frozen=True)
class Fault:
    """An error that was met. Its text holds no secret and nothing of a client's."""

    text: str
    at: float  # seconds since the epoch

    @staticmethod
    def now(text: str) -> Fault:
        """One that was just met."""
        return Fault(text, time.time())
