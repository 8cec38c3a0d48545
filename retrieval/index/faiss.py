"""The index in production: FAISS's exhaustive inner product search, which is exact and needs no training."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.index.exact import Hits, as_rows, at_least_one, best


class FaissIndex:
    """A FAISS IndexFlatIP. Searches are thread-safe."""

    def __init__(self, flat: faiss.IndexFlatIP) -> None:
        """Wrap a filled FAISS index; use `build` to create one."""
        self._flat = flat

    @classmethod
    def build(cls, vectors: NDArray[Any]) -> FaissIndex:
        """Index (n, D) finite rows (unit rows for cosines); ValueError for anything else."""
        rows = as_rows(vectors)
        flat = faiss.IndexFlatIP(rows.shape[1])
        flat.add(rows)
        return cls(flat)

    @property
    def rows(self) -> NDArray[np.float32]:
        """The (n, D) rows as a view of the index's memory: do not modify them or use them after the index is freed."""
        flat, n, dimension = self._flat, self._flat.ntotal, self._flat.d
        rows: NDArray[np.float32] = faiss.rev_swig_ptr(flat.get_xb(), n * dimension).reshape(n, dimension)
        return rows

    def search(self, queries: NDArray[Any], k: int, allowed: NDArray[np.bool_] | None = None) -> Hits:
        """See retrieval.index.exact.Index.search. allowed: (n,) which rows may be found; None for all."""
        rows = as_rows(queries, self._flat.d)
        there = self._flat.ntotal if allowed is None else int(np.count_nonzero(allowed))
        hit_count = min(at_least_one(k), there)
        ids = np.empty((len(rows), hit_count), dtype=np.int64)
        scores = np.empty((len(rows), hit_count), dtype=np.float32)
        if hit_count:
            selected = None if allowed is None else _selector(allowed)
            # One at a time: FAISS rounds differently in larger batches, and results must not depend on the batch.
            for at in range(len(rows)):
                ids[at], scores[at] = self._search_one(rows[at : at + 1], hit_count, there, selected)
        return ids, scores

    def _search_one(self, query: NDArray[np.float32], k: int, n: int, selected: faiss.SearchParameters | None) -> Hits:
        """Return the best k ≤ n hits for a (1, D) query among the n rows that may be found.

        FAISS does not define which of several equal scores it omits. So the search is repeated with more hits until the
        last score is lower than the k-th.
        """
        count = min(k + 1, n)
        while True:
            scores, ids = self._flat.search(query, count, params=selected)
            if count == n or scores[0, -1] < scores[0, k - 1]:
                hits, values = best(ids, scores, k)
                return hits[0], values[0]
            count = min(2 * count, n)


def _selector(allowed: NDArray[np.bool_]) -> faiss.SearchParameters:
    python: Any = faiss  # the stubs lack what its Python part adds
    selector = python.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
    parameters: faiss.SearchParameters = python.SearchParameters(sel=selector)
    return parameters
