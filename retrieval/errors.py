"""The errors of this package, and `Fault`, a record of the last error.

RetrievalError
├── ModelError        a model is missing, invalid, or cannot run here
├── EncodingError     the model returned no usable vector for a text
├── PassageTooLarge   a passage is longer than what keeps it can hold
├── EncoderUnavailable  an encoder on another machine does not answer, or answers wrongly
├── FilterUnfinished  a filter could not be checked on all documents in time
├── CollectionError   a collection is missing, damaged, or of another model
│   ├── CollectionUnwritable  it can be read and not written
│   ├── CollectionDeleted     it was deleted while it was open
│   ├── CollectionTaken       another machine has a collection of this name
│   ├── IndexUnavailable      where its passages are does not answer at the moment
│   ├── WrongModel            it was made with another model than the one that searches it
│   ├── SegmentDamaged        its files are damaged; `qrerank index verify NAME --repair` mends it from its documents
│   └── SegmentUnreadable     its files cannot be opened now; nothing says that they are damaged
└── DataError         an input file is invalid; the message names the file, the line and the remedy
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass


class RetrievalError(Exception):
    """Base class; every message says what to do."""


class ModelError(RetrievalError):
    """A model is missing, invalid, or cannot run here."""


class EncodingError(RetrievalError):
    """The model returned no usable vector for a text."""


class PassageTooLarge(RetrievalError):
    """A passage is longer than what keeps it can hold."""


class EncoderUnavailable(RetrievalError):
    """An encoder on another machine does not answer, or answers wrongly. What is cached can be used meanwhile."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        """retry_after_s: seconds until another try makes sense."""
        super().__init__(message)
        self.retry_after_s = max(1, math.ceil(retry_after_s))


class FilterUnfinished(RetrievalError):
    """A filter could not be checked on all documents in the time that there was."""


class CollectionError(RetrievalError):
    """A collection is missing, damaged, or of another model."""


class CollectionUnwritable(CollectionError):
    """A collection can be read and not written: a full or read-only disk, or another process that writes."""


class CollectionDeleted(CollectionError):
    """A collection was deleted while it was open; another one may be in its place."""


class CollectionTaken(CollectionError):
    """Another machine has a collection of this name in Milvus."""


class IndexUnavailable(CollectionError):
    """Where a collection's passages are, beside the disk, does not answer at the moment."""


class WrongModel(CollectionError):
    """A collection was made with another model than the one that searches it."""


class SegmentDamaged(CollectionError):
    """Files of a segment are damaged. Its message says how, but not what mends it: it does not know the collection."""


class SegmentUnreadable(CollectionError):
    """Files of a segment cannot be opened now, for want of memory, descriptors or rights; they may be as they were."""

    def __init__(self, fault: str, remedy: str) -> None:
        """Tell both."""
        super().__init__(f"{fault}; {remedy}")
        self.fault, self.remedy = fault, remedy


class DataError(RetrievalError):
    """An input file is invalid or cannot be read."""


@dataclass(frozen=True)
class Fault:
    """An error that occurred. Its text contains no secrets and no client data."""

    text: str
    at: float  # seconds since the epoch

    @staticmethod
    def now(text: str) -> Fault:
        """Create a fault that occurred now."""
        return Fault(text, time.time())
