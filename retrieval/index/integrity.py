"""The integrity check of an open segment: less than a second for 100 000 passages.

Checked completely: file sizes, offsets, pooled vectors and the rows of the index. Checked on a new random sample each
time: the bytes of the other files, states, texts, and the recall of the index against an exact search.
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

from retrieval.errors import SegmentDamaged
from retrieval.index import postings
from retrieval.index.checksums import FILE, check_blocks, read_checksums
from retrieval.index.segment import TOKENS, Segment
from retrieval.index.token_rows import row_bytes

log = logging.getLogger(__name__)

SAMPLE = 10  # default number of sampled passages, and of blocks of a file
_NEAREST = 10
_LEAST_RECALL = 0.99
_ROUNDING = 1e-4  # tolerance for inner products of float32 unit rows
_HEAD_BYTES = 256  # enough for the header of a .npy file
_BLOCK = 8192  # pooled vectors read at once


@dataclass(frozen=True)
class IntegrityReport:
    """The result of an integrity check."""

    at: float  # seconds since the epoch
    seconds: float  # duration
    sampled: int  # number of sampled passages
    recall: float  # recall@10 of the index against an exact search; 0 if not measured
    fault: str | None  # the problem; None if the check passed


def verify(segment: Segment, sample: int = SAMPLE, *, whole: bool = False) -> IntegrityReport:
    """Check a segment with `sample` random passages. Blocks; problems are reported and not raised.

    whole: read every byte of every file, at about 2 GB a second once they are in memory.
    """
    start, at = time.perf_counter(), time.time()
    sample_positions = np.random.default_rng().permutation(segment.spec.passages)[:sample]
    recall, fault = 0.0, None
    try:
        _check_sizes(segment)
        _check_offsets(segment)
        _check_states(segment, sample_positions)
        recall = _check_index(segment, sample_positions)
        _check_equal(FILE, read_checksums(segment.files), segment.checksums)
        for name in segment.checksums:
            check_blocks(segment.files, segment.checksums, name, None if whole else sample)
    except (SegmentDamaged, OSError, ValueError) as error:  # damaged files
        fault = str(error)
    except Exception as error:  # a bug here must not stop the checks of other segments
        log.exception("the segment %s cannot be checked", segment.name)
        fault = f"it cannot be checked ({type(error).__name__})"
    return IntegrityReport(at, time.perf_counter() - start, len(sample_positions), recall, fault)


def _check_sizes(segment: Segment) -> None:
    """Check that the files have their sizes at opening, and the sizes in the spec."""
    if changed := segment.files.changed():
        raise SegmentDamaged(changed)
    spec, rows = segment.spec, segment.index.rows
    n, width = spec.passages, rows.shape[1]
    _check_equal("lengths.npy", segment.lengths.shape, (n,))
    _check_equal("unknown.npy", segment.unknown.shape, (n,))
    _check_equal("traits.npy", segment.text_traits.shape, (n,))
    _check_equal("offsets.npy", segment.offsets.shape, (n + 1,))
    _check_equal("passages.npy", segment.texts.offsets.shape, (n + 1,))
    _check_equal("terms.npy", segment.term_records.offsets.shape, (n + 1,))
    _check_equal(postings.FILE, segment.files.sizes[postings.FILE], segment.postings.size)
    _check_equal("pooled.npy", _pooled(segment)[0], (n, width))
    _check_equal(TOKENS, segment.files.sizes[TOKENS], spec.tokens * row_bytes(spec.token_dimension))


def _check_equal(file: str, actual: object, expected: object) -> None:
    if actual != expected:
        raise SegmentDamaged(f"{file} holds {actual}, and should hold {expected}"[:200])


def _check_offsets(segment: Segment) -> None:
    """Check that the offsets rise strictly from 0 to the end of each file."""
    sizes = segment.files.sizes
    ends = {
        "offsets.npy": (segment.offsets, segment.spec.tokens),
        "passages.npy": (segment.texts.offsets, sizes["passages.jsonl"]),
        "terms.npy": (segment.term_records.offsets, sizes["terms.bin"]),
    }
    for file, (offsets, end) in ends.items():
        if offsets[0] != 0 or offsets[-1] != end or not np.all(np.diff(offsets) > 0):
            raise SegmentDamaged(f"{file} does not rise from 0 to {end}")


def _check_states(segment: Segment, sample_positions: NDArray[np.int64]) -> None:
    """Check that the sampled (m,) passages can be read; what their token rows hold, only checksums tell."""
    segment.passages(sample_positions)
    if missing := segment.postings.missing(sample_positions, segment.terms(sample_positions)):
        raise SegmentDamaged(f"{postings.FILE} lacks {missing} terms of the sampled passages")
    segment.states(sample_positions)


def _check_index(segment: Segment, sample_positions: NDArray[np.int64]) -> float:
    """Return the recall of the index; SegmentDamaged if it is too low or a sampled vector does not find itself."""
    queries = segment.index.rows[sample_positions]  # (m, P)
    best_scores = _exact_scores(segment, queries)
    ids, scores = segment.index.search(queries, _NEAREST)
    if np.any(np.abs(scores[:, 0] - 1) > _ROUNDING):
        raise SegmentDamaged("the index does not find passages with their own vectors")
    true_scores = np.einsum("mkp,mp->mk", segment.index.rows[ids], queries)  # expected scores of the hits
    # Equal scores may come in any order, so scores are compared and not ids.
    correct = (np.abs(true_scores - scores) <= _ROUNDING) & (true_scores >= best_scores[:, -1:] - _ROUNDING)
    recall = float(correct.mean())
    if recall < _LEAST_RECALL:
        raise SegmentDamaged(f"the index has a recall of {recall:.3f}, and should have 1")
    return recall


def _exact_scores(segment: Segment, queries: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (m, k) best scores of the pooled vectors on disk for the queries; also checks every vector."""
    rows, (_, start) = segment.index.rows, _pooled(segment)
    best = np.empty((len(queries), 0), dtype=np.float32)
    for begin, end in pairwise([*range(0, len(rows), _BLOCK), len(rows)]):
        content = segment.files.read("pooled.npy", start + begin * rows[0].nbytes, rows[begin:end].nbytes)
        block = np.frombuffer(content, dtype=np.float32).reshape(end - begin, -1)
        squared_norms = np.einsum("np,np->n", block, block)
        if not np.all(np.abs(squared_norms - 1) <= 2 * _ROUNDING):  # fails for NaN, too
            raise SegmentDamaged("pooled.npy holds vectors that are not of length 1")
        if not np.array_equal(block, rows[begin:end]):
            raise SegmentDamaged("pooled.npy holds other vectors than were opened")
        best = np.concatenate([best, queries @ block.T], axis=1)
        k = min(_NEAREST, best.shape[1])
        best = np.sort(np.partition(best, -k, axis=1)[:, -k:], axis=1)[:, ::-1]
    return best


def _pooled(segment: Segment) -> tuple[tuple[int, ...], int]:
    """Return the shape of the vectors in pooled.npy, and their offset in bytes; ValueError for an invalid header."""
    files = segment.files
    header = io.BytesIO(files.read("pooled.npy", 0, min(files.sizes["pooled.npy"], _HEAD_BYTES)))
    npy.read_magic(header)
    shape, fortran_order, dtype = npy.read_array_header_1_0(header)
    if fortran_order or dtype != np.float32 or files.sizes["pooled.npy"] != header.tell() + 4 * math.prod(shape):
        raise ValueError("the size of pooled.npy does not match its header, or it is not float32")
    return shape, header.tell()
