"""The first stage of a search: candidates by meaning and by words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from retrieval.fusion import first_of_each, reciprocal_rank
from retrieval.index.passage_index import Find, PassageIndex, PendingVector, Words

_LAST = 0.01  # weight of a ranking that only fills up what the other one leaves, beside the other's
_DEEPER = 4  # times as many passages are looked up if they are of too few documents


@dataclass(frozen=True)
class FirstStage:
    """How much FAISS and BM25 count where their rankings are fused; one of weight 0 is not asked."""

    dense: float = 1.0
    lexical: float = 0.5  # on the development collections 1 finds a few more, and ranks programs worse

    def __post_init__(self) -> None:
        """ValueError unless both weights are at least 0 and one is above."""
        if not (min(self.dense, self.lexical) >= 0 < max(self.dense, self.lexical) < float("inf")):
            raise ValueError(f"weights are at least 0 and one is above it; got {self.dense} and {self.lexical}")

    def by_words(self) -> FirstStage:
        """Return these weights for a query whose vector says little: the nearest stand behind what has its words."""
        return replace(self, dense=min(self.dense, _LAST * self.lexical)) if self.lexical else self

    def announce(
        self, collection: PassageIndex, vector: PendingVector, k: int, leave_out: int | None = None
    ) -> Find | None:
        """Announce a search that is about to be made with these arguments; None if nothing is joined."""
        return collection.announce(vector, _count(k, leave_out)) if self.dense else None

    def search(
        self,
        collection: PassageIndex,
        vector: NDArray[np.float32],
        words: Words,
        k: int,
        leave_out: int | None = None,
        *,
        grouped: bool = False,
        nearest: Find | None = None,
    ) -> NDArray[np.int64]:
        """Return the positions of up to k ≥ 1 passages, best first: the best of both rankings of k by reciprocal rank.

        Args:
            collection: Where to search.
            vector: (P,) the pooled vector of the query.
            words: Those of the query in the collection.
            k: How many passages.
            leave_out: The number of a document that must not be among them; the next best takes its place.
            grouped: Return passages of k documents instead: of each its best one by meaning and its best one by words.
            nearest: What `announce` returned for the same search; None if it was not announced.
        """
        weights = [self.dense, self.lexical]
        offered = collection.finds_words or not self.dense  # else the collection says that it offers no such search
        finders = [
            (nearest or partial(collection.nearest, vector)) if self.dense else _nothing,
            words.best if self.lexical and offered else _nothing,
        ]
        rankings = [_best(find, collection, k, leave_out, grouped=grouped) for find in finders]
        if not grouped:
            return reciprocal_rank(rankings, weights)[:k]
        owners = [collection.owners(positions) for positions in rankings]
        place_of = {owner: place for place, owner in enumerate(reciprocal_rank(owners, weights)[:k].tolist())}
        found = [
            (place_of[owner], position)
            for positions, numbers in zip(rankings, owners, strict=True)
            for position, owner in zip(positions.tolist(), numbers.tolist(), strict=True)
            if owner in place_of
        ]
        return np.array([position for _, position in sorted(set(found))], dtype=np.int64)


def _nothing(_: int) -> NDArray[np.int64]:
    return np.empty(0, dtype=np.int64)


def _count(k: int, leave_out: int | None) -> int:
    """How many passages are looked up at first."""
    return k + (leave_out is not None)


def _best(
    find: Find,
    collection: PassageIndex,
    k: int,
    leave_out: int | None,
    *,
    grouped: bool,
) -> NDArray[np.int64]:
    """The positions of the best k passages, of one document each if they are grouped."""
    count = _count(k, leave_out)
    while True:
        positions = kept = find(count)
        if grouped or leave_out is not None:
            owners = collection.owners(positions)
            first = first_of_each(owners) if grouped else np.arange(len(owners))
            kept = positions[first[owners[first] != leave_out]]
        if len(kept) >= k or len(positions) < count:
            return kept[:k]
        count *= _DEEPER


BOTH = FirstStage()
BY_NAME = {"dense": FirstStage(lexical=0.0), "lexical": FirstStage(dense=0.0), "both": BOTH}
