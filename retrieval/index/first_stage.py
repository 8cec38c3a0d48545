"""The first stage of a search: candidates by meaning and by words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.fusion import reciprocal_rank
from retrieval.index.passage_index import PassageIndex
from retrieval.text.bm25 import QueryTerms


@dataclass(frozen=True)
class FirstStage:
    """How much FAISS and BM25 count where their rankings are fused; one of weight 0 is not asked."""

    dense: float = 1.0
    lexical: float = 0.5  # on the development collections 1 finds a few more, and ranks programs worse

    def __post_init__(self) -> None:
        """ValueError unless both weights are at least 0 and one is above."""
        if not (min(self.dense, self.lexical) >= 0 < max(self.dense, self.lexical) < float("inf")):
            raise ValueError(f"weights are at least 0 and one is above it; got {self.dense} and {self.lexical}")

    def search(
        self,
        collection: PassageIndex,
        vector: NDArray[np.float32],
        query: QueryTerms,
        k: int,
        leave_out: int | None = None,
    ) -> NDArray[np.int64]:
        """Return the positions of up to k ≥ 1 passages, best first: the best of both rankings of k by reciprocal rank.

        Args:
            collection: Where to search.
            vector: (P,) the pooled vector of the query.
            query: Its terms.
            k: How many passages.
            leave_out: The position of a passage that must not be among them; the next best takes its place.
        """
        count = k + (leave_out is not None)
        nothing = np.empty(0, dtype=np.int64)
        nearest = collection.nearest(vector, count) if self.dense else nothing
        offered = collection.finds_words or not self.dense  # else the collection says that it offers no such search
        matching = collection.matching(query, count) if self.lexical and offered else nothing
        rankings = [positions[positions != leave_out][:k] for positions in (nearest, matching)]
        return reciprocal_rank(rankings, [self.dense, self.lexical])[:k]


BOTH = FirstStage()
BY_NAME = {"dense": FirstStage(lexical=0.0), "lexical": FirstStage(dense=0.0), "both": BOTH}
