"""Late interaction: how ColBERT models read queries and documents, beside what their weights do.

A marker after the first token tells a query from a document. A short query is filled up with [MASK] tokens, whose
vectors count as its own (query expansion). Some tokens of documents, such as punctuation, are read but have no row.
Khattab, Zaharia 2020, arXiv:2004.12832.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.encoder.protocol import Role


@dataclass(frozen=True)
class LateInteraction:
    """What a prepared late-interaction model needs beside its weights; part of its spec.json."""

    query_tokens: int  # the most tokens of a query, including special tokens
    filled_tokens: int  # queries of fewer tokens are filled up to so many; 0: none are
    filler: int  # the id of the token that fills them
    attends_filler: bool  # whether a query's own tokens attend to it
    markers: Mapping[str, int]  # by role, the id that is inserted after the first token
    skipped: Mapping[str, Sequence[int]]  # by role, the ids that have no row

    def mark(self, ids: NDArray[np.int64], role: Role) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Insert the marker of a role into (t,) ids.

        Returns:
            The (t',) ids, and for each its position in `ids`, -1 for the marker.
        """
        at = np.arange(ids.size)
        if role not in self.markers:
            return ids, at
        return np.insert(ids, 1, self.markers[role]), np.insert(at, 1, -1)

    def fill(self, ids: NDArray[np.int64], role: Role) -> NDArray[np.int64]:
        """Return the (f,) ids that fill up a query of (t,) ids; none for a document."""
        missing = self.filled_tokens - ids.size if role == "query" else 0
        return np.full(max(0, missing), self.filler, dtype=np.int64)

    def have_rows(self, ids: NDArray[np.int64], role: Role) -> NDArray[np.bool_]:
        """Return which of (t,) ids have rows: (t,), at least one."""
        rows: NDArray[np.bool_] = ~np.isin(ids, self.skipped.get(role, ()))
        return rows if rows.any() else np.ones_like(rows)
