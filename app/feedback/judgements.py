"""The words of feedback: what was ranked, what is said of it, and what follows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

Label = Literal["relevant", "clicked", "not"]
LABELS: tuple[Label, ...] = get_args(Label)


class Scope(NamedTuple):
    """Where weights are learned apart from elsewhere."""

    collection: str  # "" for documents that came with the request
    key_group: str  # the tier of the keys


@dataclass(frozen=True)
class Ranked:
    """A request that can be judged."""

    who: str  # whose it was
    id: str
    scope: Scope
    created: float  # seconds since the epoch
    scores: NDArray[np.float32]  # (3, n), what each ranker adds to the fused score at weight 1
    defaults: NDArray[np.float64]  # (3,) its weights without feedback
    positions: NDArray[np.int16]  # (n,) from 1, of the documents that were shown; 0 for the others
    documents: Sequence[str] | None = None  # digests of the ids of a collection's documents
    judged: Mapping[str, str] = field(default_factory=dict)  # labels by document


@dataclass(frozen=True)
class Judgement:
    """What was said of one document."""

    document: int | str  # its index in the ranking, or its id
    label: Label


@dataclass(frozen=True)
class Standing:
    """What was learned in a scope."""

    scope: Scope
    judged: float  # judgements, each by its weight
    callers: int
    probabilities: NDArray[np.float64]  # of the experts


def digest(document_id: str) -> str:
    """A document's id as it is stored: nothing of it can be read."""
    return hashlib.blake2b(document_id.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
