"""The `Index` protocol, and an exact NumPy index as the reference for tests."""

from __future__ import annotations

import operator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Hits = tuple[NDArray[np.int64], NDArray[np.float32]]


class Index(Protocol):
    """Finds the rows with the largest inner products; for unit rows these are cosines."""

    def search(self, queries: NDArray[Any], k: int) -> Hits:
        """Find the best k' = min(k, n) of the n rows for each of (m, D) finite queries.

        Returns ids (m, k') int64, the positions of the rows, and scores (m, k') float32, by falling score; equal scores
        by rising id. ValueError for k < 1, another dimension than D, or a non-finite entry.
        """


class ExactIndex:
    """Computes every inner product in float64 and sorts every row: slow but simple. The reference for FaissIndex."""

    def __init__(self, vectors: NDArray[Any]) -> None:
        """Index (n, D) finite rows; ValueError for anything else."""
        self._vectors = as_rows(vectors).astype(np.float64)

    def search(self, queries: NDArray[Any], k: int) -> Hits:
        """See Index.search; needs memory for (m, n) scores."""
        rows = as_rows(queries, self._vectors.shape[1])
        scores = (rows.astype(np.float64) @ self._vectors.T).astype(np.float32)  # (m, n)
        ids = np.broadcast_to(np.arange(len(self._vectors)), scores.shape)
        return best(ids, scores, at_least_one(k))


def as_rows(vectors: NDArray[Any], dimension: int | None = None) -> NDArray[np.float32]:
    """Return the vectors as contiguous (m, D) float32; ValueError unless finite, and D = `dimension` if given."""
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise ValueError(f"vectors must be rows (m, D), got shape {rows.shape}")
    if dimension is not None and rows.shape[1] != dimension:
        raise ValueError(f"the index holds vectors of {dimension} dimensions, not {rows.shape[1]}; use the same model")
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        raise ValueError(f"vector {bad[0]} is not finite: encode its text again or leave it out")
    return rows


def at_least_one(k: int) -> int:
    """Return k as Python's own number, which FAISS needs; ValueError below 1, TypeError for what is no whole number."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return operator.index(k)


def best(ids: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> Hits:
    """Sort (m, c) hits by falling score, equal scores by rising id, and return the first k of each row."""
    order = np.lexsort((ids, -scores), axis=-1)[:, :k]
    return np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1)
