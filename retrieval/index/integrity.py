"""Whether an opened collection still is what was built: a self-check of less than a second for 100 000 passages.

All that is small or in memory is checked whole: the files' sizes, the offsets, the pooled vectors and the rows of the
index. What is large is sampled anew each time: states, texts, and what the index answers beside an exact search.
"""

from __future__ import annotations

import io
import logging
import math
import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from retrieval.errors import CollectionError
from retrieval.index.collection import Collection

log = logging.getLogger(__name__)

SAMPLE = 10  # passages, at most
_NEAREST = 10
_LEAST_RECALL = 0.99
_ROUNDING = 1e-4  # of a product of unit rows in float32, generously
_HEAD_BYTES = 256  # that hold a .npy file's description
_BLOCK = 8192  # rows of pooled vectors held at once


@dataclass(frozen=True)
class IntegrityReport:
    """What a self-check found."""

    at: float  # seconds since the epoch
    seconds: float  # that it took
    sampled: int  # passages
    recall: float  # of the index at 10 beside an exact search; 0 where it did not come to that
    fault: str | None  # what is wrong, and None where nothing is

    @property
    def holds(self) -> bool:
        """Whether the collection can be trusted."""
        return self.fault is None


def verify(collection: Collection, sample: int = SAMPLE) -> IntegrityReport:
    """Check a collection, with so many of its passages drawn by chance. Blocks; raises nothing of the collection's."""
    start, at = time.perf_counter(), time.time()
    drawn = np.random.default_rng().permutation(collection.spec.passages)[:sample]
    recall, fault = 0.0, None
    try:
        _check_sizes(collection)
        _check_offsets(collection)
        _check_states(collection, drawn)
        recall = _check_index(collection, drawn)
    except (CollectionError, OSError, ValueError) as error:  # of what cannot be read as what it should be
        fault = str(error)
    except Exception as error:  # whatever it is, the check of other collections goes on
        log.exception("the collection %s cannot be checked", collection.name)
        fault = f"it cannot be checked ({type(error).__name__})"
    return IntegrityReport(at, time.perf_counter() - start, len(drawn), recall, fault)


def _check_sizes(collection: Collection) -> None:
    """The files are as large as when they were opened, which is as large as they should be."""
    if changed := collection.files.changed():
        raise CollectionError(changed)
    spec, rows = collection.spec, collection.index.rows
    n, width = spec.passages, rows.shape[1]
    _agree("lengths.npy", collection.lengths.shape, (n,))
    _agree("offsets.npy", collection.offsets.shape, (n + 1,))
    _agree("passages.npy", collection.texts.offsets.shape, (n + 1,))
    _agree("terms.npy", collection.term_lines.offsets.shape, (n + 1,))
    _agree("index.faiss", rows.shape, (n, width))
    _agree("pooled.npy", _pooled(collection)[0], (n, width))
    _agree("tokens.i8", collection.files.sizes["tokens.i8"], spec.tokens * spec.token_dimension)


def _agree(file: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise CollectionError(f"{file} holds {found}, and should hold {wanted}")


def _check_offsets(collection: Collection) -> None:
    """Every passage has its part of each file, in order, and the last part ends where the file does."""
    sizes = collection.files.sizes
    ends = {
        "offsets.npy": (collection.offsets, collection.spec.tokens),
        "passages.npy": (collection.texts.offsets, sizes["passages.jsonl"]),
        "terms.npy": (collection.term_lines.offsets, sizes["terms.txt"]),
    }
    for file, (offsets, end) in ends.items():
        if offsets[0] != 0 or offsets[-1] != end or not np.all(np.diff(offsets) > 0):
            raise CollectionError(f"{file} does not rise from 0 to {end}")


def _check_states(collection: Collection, drawn: NDArray[np.int64]) -> None:
    """The (m,) drawn passages can be read, and each of their token rows is one that `quantise` may have made."""
    collection.passages(drawn)
    collection.terms(drawn)
    tokens = collection.states(drawn).tokens
    if not np.all(np.abs(tokens.astype(np.int16)).max(axis=1) == 127):
        raise CollectionError("tokens.i8 holds rows that no encoder made")


def _check_index(collection: Collection, drawn: NDArray[np.int64]) -> float:
    """The recall of the index; CollectionError where it is too low, or a drawn passage is not found by itself."""
    queries = collection.index.rows[drawn]  # (m, P)
    best = _exact(collection, queries)
    ids, scores = collection.index.search(queries, _NEAREST)
    if np.any(np.abs(scores[:, 0] - 1) > _ROUNDING):
        raise CollectionError("index.faiss does not find passages by their own vectors")
    true = np.einsum("mkp,mp->mk", collection.index.rows[ids], queries)  # what the hits should score
    # Which of two equal scores comes first is nobody's fault, so what counts is the score.
    right = (np.abs(true - scores) <= _ROUNDING) & (true >= best[:, -1:] - _ROUNDING)
    recall = float(right.mean())
    if recall < _LEAST_RECALL:
        raise CollectionError(f"index.faiss finds {recall:.3f} of the nearest passages, and should find all")
    return recall


def _exact(collection: Collection, queries: NDArray[np.float32]) -> NDArray[np.float32]:
    """The (m, k) best scores that the pooled vectors on disk have for the queries; on the way every row is checked."""
    rows, (_, start) = collection.index.rows, _pooled(collection)
    best = np.empty((len(queries), 0), dtype=np.float32)
    for begin, end in pairwise([*range(0, len(rows), _BLOCK), len(rows)]):
        read = collection.files.read("pooled.npy", start + begin * rows[0].nbytes, rows[begin:end].nbytes)
        block = np.frombuffer(read, dtype=np.float32).reshape(end - begin, -1)
        lengths = np.einsum("np,np->n", block, block)
        if not np.all(np.abs(lengths - 1) <= 2 * _ROUNDING):  # nor is NaN
            raise CollectionError("pooled.npy holds vectors that are not of length 1")
        if not np.array_equal(block, rows[begin:end]):
            raise CollectionError("pooled.npy and index.faiss hold different vectors")
        best = np.concatenate([best, queries @ block.T], axis=1)
        kept = min(_NEAREST, best.shape[1])
        best = np.sort(np.partition(best, -kept, axis=1)[:, -kept:], axis=1)[:, ::-1]
    return best


def _pooled(collection: Collection) -> tuple[tuple[int, ...], int]:
    """The shape of the vectors in pooled.npy, and the byte at which they begin; ValueError for another kind of file."""
    files = collection.files
    head = io.BytesIO(files.read("pooled.npy", 0, min(files.sizes["pooled.npy"], _HEAD_BYTES)))
    npy.read_magic(head)
    shape, by_column, kind = npy.read_array_header_1_0(head)
    if by_column or kind != np.float32 or files.sizes["pooled.npy"] != head.tell() + 4 * math.prod(shape):
        raise ValueError("pooled.npy does not hold so many rows of float32 as it says")
    return shape, head.tell()
