"""The index in production: FAISS searches all vectors in eight bits an entry, and the best are scored exactly.

The result is that of an exact search. With q' and x' the rounded query and row, |<q, x> - <q', x'>| is at most
|q| |x - x'| + |q - q'| |x'|. So when the worst hit of the rounded search, plus that, is below the k-th exact score, no
other row can be among the best k. A scan of eight bits reads a quarter of the memory, which is what a search waits for.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.index.exact import Hits, as_rows, at_least_one, best

_LARGEST = 127  # of a signed byte
_BLOCK = 8192  # rows rounded at once
_DEPTH = 4  # times k hits of the rounded search at first; doubled while they do not suffice


class FaissIndex:
    """Exhaustive inner product search. Searches are thread-safe."""

    def __init__(self, rows: NDArray[np.float32]) -> None:
        """Index (n, D) finite rows, which must not change; `build` checks them."""
        self.rows = rows
        self._scale = _LARGEST / (float(np.abs(rows).max(initial=0)) or 1.0)
        self._rounded = faiss.IndexScalarQuantizer(
            rows.shape[1], faiss.ScalarQuantizer.QT_8bit_direct_signed, faiss.METRIC_INNER_PRODUCT
        )
        self._lost = self._longest = 0.0  # the largest |x - x'| and |x'|
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            rounded = np.rint(block * self._scale)
            self._rounded.add(rounded)
            rounded /= self._scale
            self._lost = max(self._lost, float(np.linalg.norm(block - rounded, axis=1).max()))
            self._longest = max(self._longest, float(np.linalg.norm(rounded, axis=1).max()))

    @classmethod
    def build(cls, vectors: NDArray[Any]) -> FaissIndex:
        """Index (n, D) finite rows (unit rows for cosines); ValueError for anything else."""
        return cls(as_rows(vectors))

    def search(
        self, queries: NDArray[Any], k: int, allowed: NDArray[np.bool_] | None = None, least: float = -np.inf
    ) -> Hits:
        """See retrieval.index.exact.Index.search.

        Args:
            queries: (m, D).
            k: How many hits.
            allowed: (n,) which rows may be found; None for all.
            least: Hits below this score do not matter: their scores may be minus infinity.
        """
        # FAISS would wake a team of threads for each query, which costs several searches where cores are busy. OpenMP's
        # setting is of the calling thread alone.
        faiss.omp_set_num_threads(1)
        rows = as_rows(queries, self.rows.shape[1])
        there = len(self.rows) if allowed is None else int(np.count_nonzero(allowed))
        hit_count = min(at_least_one(k), there)
        ids = np.empty((len(rows), hit_count), dtype=np.int64)
        scores = np.empty((len(rows), hit_count), dtype=np.float32)
        if hit_count:
            selected = None if allowed is None else _selector(allowed)
            for at in range(len(rows)):
                ids[at], scores[at] = self._search_one(rows[at], hit_count, there, selected, least)
        return ids, scores

    def _search_one(
        self, query: NDArray[np.float32], k: int, n: int, selected: faiss.SearchParameters | None, least: float
    ) -> Hits:
        """Return the best k ≤ n hits for a (D,) query among the n rows that may be found."""
        scale = _LARGEST / (float(np.abs(query).max()) or 1.0)
        rounded = np.rint(query * scale)  # FAISS takes signed bytes of the query, too
        length, lost = float(np.linalg.norm(query)), float(np.linalg.norm(query - rounded / scale))
        sums = 2 * len(query) * float(np.finfo(np.float32).eps) * length * self._longest  # of float32 are rounded
        margin, count = length * self._lost + lost * self._longest + sums, min(_DEPTH * k, n)
        while True:
            (near,), (ids,) = self._rounded.search(rounded[None, :], count, params=selected)
            most = near / (scale * self._scale) + margin  # that the exact scores can be
            exact = np.full(count, -np.inf, dtype=np.float32)
            matter = most >= least
            exact[matter] = np.vecdot(self.rows[ids[matter]].astype(np.float64), query)
            hits, scores = best(ids[None, :], exact[None, :], k)
            if count == n or most[-1] < max(scores[0, -1], least):
                return hits[0], scores[0]
            count = min(2 * count, n)


def _selector(allowed: NDArray[np.bool_]) -> faiss.SearchParameters:
    python: Any = faiss  # the stubs lack what its Python part adds
    selector = python.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
    parameters: faiss.SearchParameters = python.SearchParameters(sel=selector)
    return parameters
