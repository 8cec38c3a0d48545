"""The index that serves: FAISS's exhaustive inner product search, exact and with nothing to train."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.errors import CollectionError
from retrieval.index.exact import Hits, as_rows, at_least_one, best


class FaissIndex:
    """An IndexFlatIP; searching is safe from several threads."""

    def __init__(self, flat: faiss.IndexFlatIP) -> None:
        """Take over a filled FAISS index; `build` and `load` make one."""
        self._flat = flat

    @classmethod
    def build(cls, vectors: NDArray[Any]) -> FaissIndex:
        """Index (n, D) finite rows (unit rows, where scores are to be cosines); ValueError for anything else."""
        rows = as_rows(vectors)
        flat = faiss.IndexFlatIP(rows.shape[1])
        flat.add(rows)
        return cls(flat)

    @classmethod
    def load(cls, path: Path) -> FaissIndex:
        """Read what `save` wrote; CollectionError if it is missing, cut short or another kind of index."""
        try:
            index = faiss.read_index(_name(path))
        except RuntimeError as error:
            raise CollectionError(f"index {path} is missing or damaged; build the collection again") from error
        if not isinstance(index, faiss.IndexFlatIP):
            raise CollectionError(f"index {path} is not a flat inner product index; build the collection again")
        return cls(index)

    def save(self, path: Path) -> None:
        """Write the index to a file whose folder exists; CollectionError if it cannot be written."""
        try:
            faiss.write_index(self._flat, _name(path))
        except RuntimeError as error:
            raise CollectionError(f"index {path} cannot be written: is there such a folder, and space?") from error

    @property
    def rows(self) -> NDArray[np.float32]:
        """The (n, D) rows in the index's own memory: not to be changed, nor looked at when the index is gone."""
        flat, n, dimension = self._flat, self._flat.ntotal, self._flat.d
        rows: NDArray[np.float32] = faiss.rev_swig_ptr(flat.get_xb(), n * dimension).reshape(n, dimension)
        return rows

    def search(self, queries: NDArray[Any], k: int) -> Hits:
        """See retrieval.index.exact.Index.search."""
        rows = as_rows(queries, self._flat.d)
        kept = min(at_least_one(k), self._flat.ntotal)
        ids = np.empty((len(rows), kept), dtype=np.int64)
        scores = np.empty((len(rows), kept), dtype=np.float32)
        if kept:
            # One at a time: FAISS rounds differently in larger batches, and an answer must not depend on its batch.
            for at in range(len(rows)):
                ids[at], scores[at] = self._search_one(rows[at : at + 1], kept)
        return ids, scores

    def _search_one(self, query: NDArray[np.float32], k: int) -> Hits:
        """The best k ≤ n for a (1, D) query.

        Which of several equal scores FAISS leaves out is its own affair, so ask for more until the cut falls between
        two unequal ones.
        """
        n, wanted = self._flat.ntotal, min(k + 1, self._flat.ntotal)
        while True:
            scores, ids = self._flat.search(query, wanted)
            if wanted == n or scores[0, -1] < scores[0, k - 1]:
                hits, values = best(ids, scores, k)
                return hits[0], values[0]
            wanted = min(2 * wanted, n)


def _name(path: Path) -> str:
    """A path as FAISS takes it; CollectionError for one that is not UTF-8."""
    try:
        return os.fsencode(path).decode()  # which `str` is not where the locale is ASCII
    except UnicodeDecodeError as error:
        raise CollectionError(f"index {path}: FAISS opens only paths in UTF-8; keep collections in another") from error
