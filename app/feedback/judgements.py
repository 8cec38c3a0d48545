"""The words of feedback: what was ranked, what is said of it, and what follows."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from app.ranking.job import Contributions

Label = Literal["relevant", "clicked", "not"]
_LAST = np.iinfo(np.int16).max  # the position of all that stand below: a click there counts as much
_UNREAD = -1000.0  # z-score of a document that was not read: below all others, whatever the weights


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
    positions: NDArray[np.int16]  # (n,) from 1, at most 32767, of the documents that were shown; 0 for the others
    documents: Sequence[str] | None = None  # (n,) digests of the ids of a collection's documents, one a passage
    judged: Mapping[str, str] = field(default_factory=dict)  # labels by the index of a passage of the document

    @property
    def owners(self) -> NDArray[np.int64]:
        """(n,) the document of each passage, by the index of its first one; what came with the request owns itself."""
        if self.documents is None:
            return np.arange(self.scores.shape[1])
        first: dict[str, int] = {}
        return np.array([first.setdefault(name, at) for at, name in enumerate(self.documents)], dtype=np.int64)


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


class Learning(Protocol):
    """What ranks by learned weights, and can be taught."""

    def weights(self, scope: Scope, defaults: NDArray[np.float64]) -> NDArray[np.float64]:
        """The (3,) weights of the rankers in a scope, with the sum 1. defaults: (3,) those without feedback."""
        ...

    def remember(self, ranking: Ranked) -> None:
        """Keep a ranking, so that it can be judged. Does not block."""
        ...


@dataclass(frozen=True)
class Lesson:
    """Feedback of one request: its weights, and its ranking for those who judge it."""

    learning: Learning
    scope: Scope
    who: str  # whose request it is

    def of(self, collection: str) -> Lesson:
        """The lesson in a collection's own name, which an alias is not."""
        return replace(self, scope=self.scope._replace(collection=collection))

    def weigh(self, defaults: NDArray[np.float64]) -> NDArray[np.float64]:
        """The (3,) weights of the rankers. defaults: (3,) those without feedback."""
        return self.learning.weights(self.scope, defaults)

    def remember(
        self, request_id: str, made_of: Contributions, shown: Sequence[int], ids: Sequence[str] | None
    ) -> None:
        """Keep the ranking of n passages.

        Args:
            request_id: What it is called.
            made_of: What its order was made of.
            shown: The positions of the passages that were shown, best first.
            ids: (n,) of a collection's documents, one a passage; None: each passage is a document of the request.
        """
        places = np.zeros(made_of.scores.shape[1], dtype=np.int16)
        places[list(shown)] = np.arange(1, len(shown) + 1).clip(max=_LAST)
        scores = np.nan_to_num(made_of.scores, nan=_UNREAD).astype(np.float32)
        documents = None if ids is None else [digest(name) for name in ids]
        ranked = Ranked(self.who, request_id, self.scope, time.time(), scores, made_of.defaults, places, documents)
        self.learning.remember(ranked)


def digest(document_id: str) -> str:
    """A document's id as it is stored: nothing of it can be read."""
    return hashlib.blake2b(document_id.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
