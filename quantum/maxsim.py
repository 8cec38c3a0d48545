"""Late interaction (MaxSim): the score of a document from the fidelities of its tokens.

The score is the mean over query tokens of the maximum over document tokens (Khattab and Zaharia 2020,
arXiv:2004.12832), with the fidelity instead of the cosine. The tokens of all n documents are concatenated, T in all:
those of document i are offsets[i] to offsets[i + 1].

Product states need no simulation: one RY layer prepares a product of single qubits, so
F(q, d) = prod_i cos(h (q_i - d_i) / 2)**2. As cos(x)**2 <= exp(-x**2) for |x| <= pi/2, the cosine gives a bound for
unit rows: log F <= -h**2 (1 - <q, d>) / 2. One product of int8 rows as they are stored, in whole numbers, bounds all
pairs, and the closed form is computed only for pairs whose bound exceeds the best fidelity so far: 1.1 of about 140
tokens of a passage. A pruned pair cannot be the maximum, so the result is exact. docs/quantum.md has the proof.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numkong
import numpy as np
from numpy.typing import DTypeLike, NDArray

from quantum.errors import InvalidVector, QuantumError
from quantum.feature_maps import FeatureMap
from quantum.simulator import Real
from quantum.vectors import directions, real_rows, scales_of

# The largest |h (q_i - d_i) / 2|: below pi/2, where the bound ends and the tangent amplifies rounding errors.
_WIDEST = 1.5
_LARGEST_BYTE = 128

# Pairs (i, j) computed at once: their differences, (pairs, D), fit into the CPU cache.
_PAIRS_AT_ONCE = 256

# Simulating a token for a query tokens costs as much as the closed form of 4 + a/5 pairs (measured, D = 384).
_PAIRS_PER_TOKEN = 4.0
_PAIRS_PER_TOKEN_AND_QUERY_TOKEN = 0.2

Rows = NDArray[Any]  # of any real dtype
Offsets = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class QueryTokens:
    """The (a, D) tokens of a query, ready to be compared with documents."""

    unit: Real  # (a, D) unit rows
    scales: Real  # (a,) that make unit rows of the packed ones
    packed: Any  # the int8 rows as numkong multiplies them; None of rows that are no int8

    @staticmethod
    def of(rows: Rows, dtype: DTypeLike = np.float32) -> "QueryTokens":
        """Return those of rows of any norm but 0. dtype: of the unit rows."""
        unit = directions(rows, dtype)
        return QueryTokens(unit, _scales(rows, unit.dtype), numkong.dots_pack(rows) if rows.dtype == np.int8 else None)


def best_log_fidelity(
    bandwidth: float, query: QueryTokens, pieces: Sequence[Rows], offsets: Offsets, scales: Real | None = None
) -> Real | None:
    """Return the log of the largest fidelity of each query token with the tokens of each document, for a product map.

    Args:
        bandwidth: h of the feature map.
        query: a tokens.
        pieces: (t_i, D) rows, t in all, of n >= 1 documents one after the other: int8, if the query's are, or unit rows
            of its dtype.
        offsets: (n + 1,) the tokens of document i are offsets[i] to offsets[i + 1], at least one.
        scales: (t,) that make unit rows of int8 rows; None: to be computed here.

    Returns:
        (a, n) of the query's dtype, at most 0. None if a row is 0, if the bound does not hold (angles near pi or above)
        or if it leaves so many pairs that simulating all is cheaper, as with repeated tokens.
    """
    (a, width), counts, tokens = query.unit.shape, np.diff(offsets), int(offsets[-1])
    if scales is None:
        scales = np.concatenate([_scales(rows, query.unit.dtype) for rows in pieces])
    widest = _widest_difference(query.unit, pieces, scales, 2 * _WIDEST / bandwidth)
    if not bandwidth / 2 * widest <= _WIDEST:  # nor for NaN
        return None
    cosines = _cosines(query, pieces, scales)
    document = np.repeat(np.arange(len(counts)), counts)  # (t,)
    angles, factors = query.unit * (bandwidth / 2), scales * (bandwidth / 2)
    budget = tokens * (_PAIRS_PER_TOKEN + _PAIRS_PER_TOKEN_AND_QUERY_TOKEN * a)
    best = np.full(a * len(counts), -np.inf, dtype=query.unit.dtype)
    # Rounding errors of the bounds, and of the log fidelities that they are compared with.
    limits = np.finfo(query.unit.dtype)
    slack, most = width * limits.eps * (bandwidth**2 + 2), max(bandwidth**2 / 2, limits.tiny)
    # First the nearest token of each document, then all tokens whose bound exceeds its fidelity.
    threshold = np.maximum.reduceat(cosines, offsets[:-1], axis=1)  # (a, n)
    for _ in range(2):
        pairs = np.flatnonzero(cosines >= np.repeat(threshold, counts, axis=1))  # i * t + j
        budget -= pairs.size
        if budget < 0:
            return None
        i, j = np.divmod(pairs, tokens)
        by_token = np.argsort(j)
        i, j = i[by_token], j[by_token]
        log_f = log_fidelity_of_pairs(angles, i, _take(pieces, j), factors[j])
        np.maximum.at(best, i * len(counts) + document[j], log_f)
        np.put(cosines, pairs, -np.inf)
        threshold = 1 + (best.reshape(a, -1) - slack) / most
    return best.reshape(a, -1)


def _scales(rows: Rows, dtype: DTypeLike) -> Real:
    return scales_of(rows) if rows.dtype == np.int8 else np.ones(len(rows), dtype=dtype)


def _cosines(query: QueryTokens, pieces: Sequence[Rows], scales: Real) -> Real:
    """The (a, t) cosines of all pairs."""
    if query.packed is None:
        of_floats: Real = query.unit @ np.concatenate(pieces).T
        return of_floats
    products = [np.asarray(numkong.dots_packed(rows, query.packed)) for rows in pieces]  # (t_i, a) int32
    columns = np.concatenate(products, dtype=query.unit.dtype, casting="same_kind")
    cosines: Real = np.multiply(columns.T, scales, order="C")
    cosines *= query.scales[:, np.newaxis]
    return cosines


def _take(pieces: Sequence[Rows], j: NDArray[np.int64]) -> Rows:
    """The (p, D) rows at (p,) rising places among those of all pieces."""
    starts = _starts(pieces)
    bounds = np.searchsorted(j, starts)
    places, each = j - np.repeat(starts[:-1], np.diff(bounds)), zip(pieces, pairwise(bounds.tolist()), strict=True)
    taken = [rows.take(places[first:last], axis=0) for rows, (first, last) in each if first < last]
    return np.concatenate(taken) if taken else pieces[0][:0]


def _starts(pieces: Sequence[Rows]) -> NDArray[np.int64]:
    """Where each of k pieces begins among all rows, and where the last one ends: (k + 1,)."""
    return np.cumsum([0, *(len(rows) for rows in pieces)])


def log_fidelity_of_pairs(angles: Real, i: NDArray[np.integer[Any]], rows: Rows, factors: Real) -> Real:
    """Return log prod_f cos(angles[i, f] - factors rows[f])**2 for pairs of rows, (p,), at most 0.

    Args:
        angles: (a, D).
        i: (p,) rows of the angles.
        rows: (p, D) the other rows; every difference is at most 1.5.
        factors: (p,) by which they are multiplied.
    """
    out, ones = np.empty(i.size, dtype=angles.dtype), np.ones(angles.shape[1], dtype=angles.dtype)
    for start in range(0, i.size, _PAIRS_AT_ONCE):
        block = slice(start, start + _PAIRS_AT_ONCE)
        x = rows[block].astype(angles.dtype)  # (pairs, D)
        x *= factors[block, np.newaxis]
        x -= angles[i[block]]
        np.matmul(np.log(np.cos(x, out=x), out=x), ones, out=out[block])  # faster than to sum
    out *= 2
    return out


def _widest_difference(q: Real, pieces: Sequence[Rows], scales: Real, enough: float) -> float:
    """Bound all |q[i, f] - d[j, f]|, rows of d being multiplied by (t,) scales; NaN or infinite for a row of 0.

    By the largest entries, or per feature if that exceeds `enough`.
    """
    of_query, longest = float(np.abs(q).max()), float(scales.max())
    bound = of_query + _LARGEST_BYTE * longest if pieces[0].dtype == np.int8 else np.inf
    if np.isfinite(longest) and bound > enough:
        bound = of_query + max(max(float(rows.max()), -float(rows.min())) for rows in pieces) * longest
    if np.isfinite(bound) and bound > enough:  # some models have a feature with a large, similar value in every token
        d = np.concatenate(pieces) * scales[:, np.newaxis]
        bound = float(np.maximum(q.max(axis=0) - d.min(axis=0), d.max(axis=0) - q.min(axis=0)).max())
    return bound


# What is bounded at once: 4 MB of cosines of pairs, and 50 MB of rows where they are no bytes.
_PAIRS_PER_BLOCK = 2**20
_TOKENS_PER_BLOCK = 2**15


def score_documents(
    feature_map: FeatureMap, query_tokens: Rows, document_tokens: Rows, offsets: Offsets
) -> NDArray[np.float64]:
    """Return the late-interaction score of each document: (n,) float64 in [0, 1].

    document_tokens: (T, D) rows; those of document i are offsets[i] to offsets[i + 1]. See `best_fidelities`.
    """
    return mean_fidelities(best_fidelities(feature_map, query_tokens, [document_tokens], offsets))


def best_fidelities(
    feature_map: FeatureMap,
    query_tokens: Rows,
    pieces: Sequence[Rows],
    offsets: Offsets,
    scales: Real | None = None,
) -> Real:
    """Compute the log of the largest fidelity of each query token with each document, in blocks of whole documents.

    Token rows may have any real dtype (int8 as stored, or floats) and any norm; only their directions count. The
    computation uses the wider dtype of the two, at least float32. On one thread: the parts of a usual request are so
    short that to hand them to a second one takes longer than it saves.

    Args:
        feature_map: The feature map.
        query_tokens: (q, D) finite non-zero rows, q >= 1.
        pieces: (t_i, D) finite non-zero rows, T in all, of n documents one after the other. They may lie anywhere.
        offsets: (n + 1,) the tokens of document i are offsets[i] to offsets[i + 1], at least one.
        scales: (T,) as `scales_of` computes them from int8 rows; None: they are not known.

    Returns:
        (q, n) of that dtype, at most 0.

    Raises:
        InvalidVector: A row is zero or not finite, or the widths differ.
        QuantumError: A document has no rows, or there is no query token.
    """
    # numkong takes rows whose entries lie side by side; those that do are not copied.
    query_tokens, *pieces = (np.ascontiguousarray(real_rows(rows)) for rows in (query_tokens, *pieces))
    if not len(query_tokens):
        raise QuantumError("there must be at least one query token")
    dtypes, widths = {query_tokens.dtype, *(rows.dtype for rows in pieces)}, {rows.shape[1] for rows in pieces}
    if other := widths - {query_tokens.shape[1]}:
        raise InvalidVector(f"both sides need the same width, got {query_tokens.shape[1]} and {other.pop()}")
    dtype, are_bytes = np.result_type(np.float32, *dtypes), dtypes == {np.dtype(np.int8)}
    query = QueryTokens.of(query_tokens if are_bytes else directions(query_tokens, dtype), dtype)
    starts = _starts(pieces)
    bounds = _check_offsets(offsets, int(starts[-1]))
    best = np.empty((len(query_tokens), len(bounds) - 1), dtype=dtype)
    for block in _blocks(bounds, min(_TOKENS_PER_BLOCK, _PAIRS_PER_BLOCK // len(query_tokens))):
        ends = bounds[block.start : block.stop + 1]
        first, last = ends[[0, -1]].tolist()
        rows, known = _between(pieces, starts, first, last), None if scales is None else scales[first:last]
        best[:, block] = _best_of_block(feature_map, query, rows, ends - first, known, first)
    return best


def _best_of_block(
    feature_map: FeatureMap, query: QueryTokens, pieces: Sequence[Rows], offsets: Offsets, scales: Real | None, at: int
) -> Real:
    """What `best_fidelities` returns, of rows that fit into memory as floats. at: the number of the first one."""
    are_bytes, dtype = query.packed is not None, query.unit.dtype
    if feature_map.is_product:
        rows = pieces if are_bytes else [directions(np.concatenate(pieces), dtype, at)]
        best = best_log_fidelity(feature_map.bandwidth, query, rows, offsets, scales if are_bytes else None)
        if best is not None:
            return best
    joined, each = np.concatenate(pieces), pairwise(offsets.tolist())  # directions raises for a zero row
    units = (directions(joined[first:last], dtype, at + first) for first, last in each)
    return np.stack([feature_map.log_fidelity(query.unit, unit).max(axis=1) for unit in units], axis=1)


def _between(pieces: Sequence[Rows], starts: NDArray[np.int64], first: int, last: int) -> list[Rows]:
    """The rows first to last of all pieces, of which each begins at one of the starts."""
    each = zip(pieces, starts.tolist(), strict=False)
    return [rows[max(0, first - at) : last - at] for rows, at in each if at < last and at + len(rows) > first]


def _blocks(offsets: NDArray[np.int64], tokens: int) -> Iterator[slice]:
    """Yield runs of documents with at most so many tokens, or one document."""
    start = 0
    while start < offsets.size - 1:
        stop = int(np.searchsorted(offsets, offsets[start] + tokens, side="right")) - 1
        yield slice(start, start := max(stop, start + 1))


def mean_fidelities(best: Real) -> NDArray[np.float64]:
    """Return the (n,) scores in [0, 1] for (q, n) logs of the best fidelities."""
    return np.asarray(np.exp(best, dtype=np.float64).mean(axis=0))


def _check_offsets(offsets: Offsets, tokens: int) -> NDArray[np.int64]:
    offsets = np.asarray(offsets)
    if offsets.ndim != 1 or offsets.dtype.kind not in "iu" or offsets.size == 0:
        raise QuantumError(f"offsets must be (n + 1,) integers, got {offsets.dtype} of shape {offsets.shape}")
    if offsets[0] != 0 or offsets[-1] != tokens:
        raise QuantumError(f"offsets must run from 0 to {tokens} tokens, got {offsets[0]} to {offsets[-1]}")
    bounds = offsets.astype(np.int64, copy=False)  # unsigned differences would wrap
    empty = np.flatnonzero(np.diff(bounds) < 1)
    if empty.size:
        raise QuantumError(f"document {empty[0]} has no tokens: leave it out, or rank it below the rest")
    return bounds
