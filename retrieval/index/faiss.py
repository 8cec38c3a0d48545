"""The index in production: FAISS searches all vectors in eight bits an entry, and the best are scored exactly.

The result is that of an exact search. With q' and x' the rounded query and row, |<q, x> - <q', x'>| is at most
|q| |x - x'| + |q - q'| |x'|. So when the worst hit of the rounded search, plus that, is below the k-th exact score, no
other row can be among the best k. A scan of eight bits reads a quarter of the memory, which is what a search waits for.

FAISS reads all its bytes for each query. Several queries are multiplied with these bytes at once instead, in whole
numbers: four of them cost less than one does in FAISS.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import faiss
import numkong
import numpy as np
from numpy.typing import NDArray

from retrieval.index.exact import Hits, as_rows, at_least_one, best

_LARGEST = 127  # of a signed byte
_BLOCK = 8192  # rows rounded at once
_DEPTH = 4  # times k hits of the rounded search at first; doubled while they do not suffice
_TOGETHER = 16  # queries
_PRODUCTS = 4096  # rows multiplied with them at once: they fit into the CPU cache
_ZERO = 128  # the byte that FAISS keeps for 0
_NEVER = np.iinfo(np.int32).min


@dataclass(frozen=True)
class _Rounded:
    """A query in signed bytes."""

    entries: NDArray[np.float32]  # (D,) whole numbers
    scale: float  # <q', x'> is a product of bytes, divided by this
    margin: float  # that an exact score is at most above or below it

    def product(self, score: float) -> int:
        """Return the least product of bytes, plus `_ZERO` times the query's sum, of a row that may have this score."""
        if score == -np.inf:
            return _NEVER + 1
        product = (score - self.margin) * self.scale + _ZERO * float(self.entries.sum())
        return int(np.clip(np.floor(product), _NEVER + 1, np.iinfo(np.int32).max))


class FaissIndex:
    """Exhaustive inner product search. Searches are thread-safe."""

    def __init__(self, vectors: NDArray[Any]) -> None:
        """Index (n, D) finite rows (unit rows for cosines), which must not change; ValueError for anything else."""
        self.rows = rows = as_rows(vectors)
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
        python: Any = faiss  # the stubs lack what its Python part adds
        self._bytes: NDArray[np.uint8] = python.rev_swig_ptr(self._rounded.codes.data(), rows.size).reshape(rows.shape)
        self._sums = _ZERO * self._bytes.sum(axis=1, dtype=np.int32)  # (n,)

    def search(
        self,
        queries: NDArray[Any],
        k: int,
        allowed: NDArray[np.bool_] | None = None,
        least: NDArray[np.float32] | float = -np.inf,
    ) -> Hits:
        """See retrieval.index.exact.Index.search.

        Args:
            queries: (m, D).
            k: How many hits.
            allowed: (n,) which rows may be found; None for all.
            least: Hits below this score, one or (m,), do not matter: their scores may be minus infinity.
        """
        # FAISS would wake a team of threads for each query, which costs several searches where cores are busy. OpenMP's
        # setting is of the calling thread alone.
        faiss.omp_set_num_threads(1)
        rows = as_rows(queries, self.rows.shape[1])
        least = np.broadcast_to(np.float32(least), len(rows))
        there = len(self.rows) if allowed is None else int(np.count_nonzero(allowed))
        hit_count = min(at_least_one(k), there)
        ids = np.empty((len(rows), hit_count), dtype=np.int64)
        scores = np.empty((len(rows), hit_count), dtype=np.float32)
        if not hit_count:
            return ids, scores
        if len(rows) == 1:
            selected = None if allowed is None else _selector(allowed)
            hits = iter([self._search_one(rows[0], hit_count, there, selected, float(least[0]))])
        else:
            hits = self._search_together(rows, hit_count, allowed, least)
        for at, found in enumerate(hits):
            ids[at], scores[at] = found
        return ids, scores

    def _search_one(
        self, query: NDArray[np.float32], k: int, n: int, selected: faiss.SearchParameters | None, least: float
    ) -> Hits:
        """Return the best k ≤ n hits for a (D,) query among the n rows that may be found."""
        rounded, count = self._round(query), min(_DEPTH * k, n)
        while True:
            (near,), (ids,) = self._rounded.search(rounded.entries[None, :], count, params=selected)
            most = near / rounded.scale + rounded.margin  # that the exact scores can be
            exact = np.full(count, -np.inf, dtype=np.float32)
            matter = most >= least
            exact[matter] = self._exact(ids[matter], query)
            hits, scores = best(ids[None, :], exact[None, :], k)
            if count == n or most[-1] < max(scores[0, -1], least):
                return hits[0], scores[0]
            count = min(2 * count, n)

    def _search_together(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None, least: NDArray[np.float32]
    ) -> Iterator[Hits]:
        """Yield the best k hits for each of (m, D) queries among the n ≥ k rows that are allowed."""
        for start in range(0, len(queries), _TOGETHER):
            some = queries[start : start + _TOGETHER]
            rounded = [self._round(query) for query in some]
            entries = np.array([each.entries for each in rounded]) + _ZERO
            packed = numkong.dots_pack(entries.astype(np.uint8))
            near = np.empty((len(some), len(self.rows)), dtype=np.int32)  # the products of bytes, plus _ZERO sum(q')
            for first in range(0, len(self.rows), _PRODUCTS):
                block = slice(first, first + _PRODUCTS)
                products = np.asarray(numkong.dots_packed(self._bytes[block], packed)).view(np.int32)
                np.subtract(products.T, self._sums[block], out=near[:, block])
            if allowed is not None:
                near[:, ~allowed] = _NEVER
            of_each = zip(some, rounded, near, least[start : start + _TOGETHER].tolist(), strict=True)
            for query, of_query, products, matters in of_each:
                yield self._best(query, of_query, products, k, matters)

    def _best(
        self, query: NDArray[np.float32], rounded: _Rounded, near: NDArray[np.int32], k: int, least: float
    ) -> Hits:
        """Return the best k hits for a (D,) query, by the (n,) products of bytes."""
        kth = _kth(near, k)
        ids = np.flatnonzero(near >= kth)
        exact, matter = np.full(len(ids), -np.inf, dtype=np.float32), near[ids] >= rounded.product(least)
        exact[matter] = self._exact(ids[matter], query)
        floor = rounded.product(max(least, float(_kth(exact, k))))
        if floor < kth:
            more = np.flatnonzero((near >= floor) & (near < kth))
            ids, exact = np.append(ids, more), np.append(exact, self._exact(more, query))
        hits, scores = best(ids[None, :], exact[None, :], k)
        return hits[0], scores[0]

    def _round(self, query: NDArray[np.float32]) -> _Rounded:
        scale = _LARGEST / (float(np.abs(query).max()) or 1.0)
        entries = np.rint(query * scale)  # FAISS takes signed bytes of the query, too
        length, lost = float(np.linalg.norm(query)), float(np.linalg.norm(query - entries / scale))
        sums = 2 * len(query) * float(np.finfo(np.float32).eps) * length * self._longest  # of float32 are rounded
        return _Rounded(entries, scale * self._scale, length * self._lost + lost * self._longest + sums)

    def _exact(self, ids: NDArray[np.int64], query: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scores of the rows with these (m,) ids."""
        scores: NDArray[np.float32] = np.vecdot(self.rows[ids].astype(np.float64), query).astype(np.float32)
        return scores


def _kth(values: NDArray[Any], k: int) -> Any:
    """The k-th highest of n ≥ k values."""
    return np.partition(values, len(values) - k)[len(values) - k]


def _selector(allowed: NDArray[np.bool_]) -> faiss.SearchParameters:
    python: Any = faiss  # the stubs lack what its Python part adds
    selector = python.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
    parameters: faiss.SearchParameters = python.SearchParameters(sel=selector)
    return parameters
