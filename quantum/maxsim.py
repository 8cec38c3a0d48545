"""Late interaction (MaxSim): the score of a document from the fidelities of its tokens.

The score is the mean over query tokens of the maximum over document tokens (Khattab and Zaharia 2020,
arXiv:2004.12832), with the fidelity instead of the cosine. The tokens of all n documents are concatenated, T in all:
those of document i are offsets[i] to offsets[i + 1].

Product states need no simulation: one RY layer prepares a product of single qubits, so
F(q, d) = prod_i cos(h (q_i - d_i) / 2)**2. As cos(x)**2 <= exp(-x**2) for |x| <= pi/2, the cosine gives a bound for
unit rows: log F <= -h**2 (1 - <q, d>) / 2. One matrix product, of int8 rows as they are stored, bounds all pairs, and
the closed form is computed only for pairs whose bound exceeds the best fidelity so far: 1.1 of about 140 tokens of a
passage. A pruned pair cannot be the maximum, so the result is exact. docs/quantum.md has the proof.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum.errors import InvalidVector, QuantumError
from quantum.feature_maps import FeatureMap
from quantum.simulator import Real
from quantum.vectors import directions, real_rows

# The largest |h (q_i - d_i) / 2|: below pi/2, where the bound ends and the tangent amplifies rounding errors.
_WIDEST = 1.5

# Rows of d multiplied at once: as floats they fit into the CPU cache, and OpenBLAS has a faster way for products of at
# most 100**3 multiplications.
_ROWS_AT_ONCE = 128
_FEW_MULTIPLICATIONS = 10**6

# Pairs (i, j) computed at once: their differences, (pairs, D), fit into the CPU cache.
_PAIRS_AT_ONCE = 256

# Simulating a token for a query tokens costs as much as the closed form of 4 + a/5 pairs (measured, D = 384).
_PAIRS_PER_TOKEN = 4.0
_PAIRS_PER_TOKEN_AND_QUERY_TOKEN = 0.2


def best_log_fidelity(bandwidth: float, q: Real, d: NDArray[Any], offsets: NDArray[np.int64]) -> Real | None:
    """Return the log of the largest fidelity of each query token with the tokens of each document, for a product map.

    Args:
        bandwidth: h of the feature map.
        q: (a, D) unit rows.
        d: (t, D) unit rows of the same dtype, or int8 rows of any norm but 0.
        offsets: (n + 1,); the tokens of document i are d[offsets[i]:offsets[i + 1]], at least one.

    Returns:
        (a, n) of that dtype, at most 0. None if a row is 0, if the bound does not hold (angles near pi or above) or if
        it leaves so many pairs that simulating all is cheaper, as with repeated tokens.
    """
    tokens, count = d.shape[0], offsets.size - 1
    bounds, factors = _cosines(q, d)
    if (
        not np.isfinite(factors).all()
        or bandwidth / 2 * _widest_difference(q, d, factors, 2 * _WIDEST / bandwidth) > _WIDEST
    ):
        return None
    document = np.repeat(np.arange(count), np.diff(offsets))  # (t,)
    bounds -= 1
    bounds *= bandwidth**2 / 2
    budget = tokens * (_PAIRS_PER_TOKEN + _PAIRS_PER_TOKEN_AND_QUERY_TOKEN * q.shape[0])
    best = np.full(q.shape[0] * count, -np.inf, dtype=q.dtype)
    # Rounding errors of the cosines in the bounds, and of the log fidelities that they are compared with.
    slack = q.shape[1] * np.finfo(q.dtype).eps * (bandwidth**2 + 2)
    # First the nearest token of each document, then all tokens whose bound exceeds its fidelity.
    threshold = np.maximum.reduceat(bounds, offsets[:-1], axis=1)  # (a, n)
    for _ in range(2):
        pairs = np.flatnonzero(bounds >= threshold.take(document, axis=1))  # i * t + j
        budget -= pairs.size
        if budget < 0:
            return None
        i, j = np.divmod(pairs, tokens)
        np.maximum.at(best, i * count + document[j], log_fidelity_of_pairs(bandwidth, q, d, i, j, factors))
        np.put(bounds, pairs, -np.inf)
        threshold = best.reshape(-1, count) - slack
    return best.reshape(-1, count)


def _cosines(q: Real, d: NDArray[Any]) -> tuple[Real, Real]:
    """The (a, t) cosines of all pairs, and the (t,) factors that make unit rows of d; as for `best_log_fidelity`."""
    columns = np.ascontiguousarray(q.T)
    products, factors = np.empty((len(d), len(q)), dtype=q.dtype), np.ones(len(d), dtype=q.dtype)
    step = min(_ROWS_AT_ONCE, max(16, _FEW_MULTIPLICATIONS // q.size))
    for start in range(0, len(d), step):
        block = slice(start, start + step)
        rows = d[block].astype(q.dtype, copy=False)
        if d.dtype == np.int8:
            factors[block] = np.vecdot(rows, rows)
        np.matmul(rows, columns, out=products[block])  # two to four times as fast as columns.T @ rows.T
    with np.errstate(divide="ignore", invalid="ignore"):  # by rows of 0
        factors = 1 / np.sqrt(factors)
        return np.multiply(products.T, factors, order="C"), factors


def log_fidelity_of_pairs(
    bandwidth: float,
    q: Real,
    d: NDArray[Any],
    i: NDArray[np.integer[Any]],
    j: NDArray[np.integer[Any]],
    factors: Real | None = None,
) -> Real:
    """Return log prod_f cos(h (q[i, f] - d[j, f]) / 2)**2 for pairs of rows, (p,) of the dtype of q, at most 0.

    Args:
        bandwidth: h of the feature map; every |h (q - d)| is below pi.
        q: (a, D).
        d: (t, D) of the same dtype, or int8.
        i: (p,) rows of q.
        j: (p,) rows of d.
        factors: (t,) by which the rows of d are multiplied; None: by 1.
    """
    out = np.empty(i.size, dtype=q.dtype)
    for start in range(0, i.size, _PAIRS_AT_ONCE):
        block = slice(start, start + _PAIRS_AT_ONCE)
        x = d[j[block]].astype(q.dtype, copy=False)  # (pairs, D), a copy
        if factors is not None:
            x *= factors[j[block], np.newaxis]
        x -= q[i[block]]
        x *= bandwidth / 2
        np.log(np.cos(x, out=x), out=x).sum(axis=1, out=out[block])
    out *= 2
    return out


def _widest_difference(q: Real, d: NDArray[Any], factors: Real, enough: float) -> float:
    """Bound all |q[i, f] - d[j, f]|, rows of d being multiplied by (t,) factors.

    By the largest entries, or per feature if that exceeds `enough`.
    """
    bound = max(float(q.max()), -float(q.min()))
    bound += max(float(d.max()), -float(d.min())) * float(factors.max())
    if bound > enough:  # some models have a feature with a large, similar value in every token
        d = d * factors[:, np.newaxis]
        bound = float(np.maximum(q.max(axis=0) - d.min(axis=0), d.max(axis=0) - q.min(axis=0)).max())
    return bound


Rows = NDArray[Any]  # of any real dtype
Offsets = NDArray[np.integer[Any]]
Over = Callable[[Callable[[slice], Real], Iterable[slice]], Iterable[Real]]  # `map`, or one like it

# Tokens scored at once: their unit rows and cosines fit into the CPU cache.
_TOKENS_PER_BLOCK = 2048


def late_interaction(log_f: Real, offsets: Offsets) -> NDArray[np.float64]:
    """Return the score of each document: the mean over query tokens of the maximum over its tokens of exp(log_f).

    log_f: (q, T) with q >= 1, at most 0. offsets: (n + 1,) integers, from 0 to T, rising by at least 1 each.
    Returns (n,) float64 in [0, 1]. Raises QuantumError for offsets that do not fit, naming an empty document.
    """
    if log_f.ndim != 2 or log_f.shape[0] == 0:
        raise QuantumError(f"log_f must be (q, T) with at least one query token, got shape {log_f.shape}")
    offsets = _check_offsets(offsets, log_f.shape[1])
    if offsets.size == 1:
        return np.zeros(0)
    best = np.maximum.reduceat(
        log_f, offsets[:-1], axis=1
    )  # (q, n): exp is monotone, so the maximum can be taken first
    return mean_fidelities(best)


def score_documents(
    feature_map: FeatureMap, query_tokens: Rows, document_tokens: Rows, offsets: Offsets, over: Over = map
) -> NDArray[np.float64]:
    """Return the late-interaction score of each document: (n,) float64 in [0, 1]; see `best_fidelities`."""
    return mean_fidelities(best_fidelities(feature_map, query_tokens, document_tokens, offsets, over))


def best_fidelities(
    feature_map: FeatureMap, query_tokens: Rows, document_tokens: Rows, offsets: Offsets, over: Over = map
) -> Real:
    """Compute the log of the largest fidelity of each query token with each document, in blocks of whole documents.

    Token rows may have any real dtype (int8 as stored, or floats) and any norm; they are scaled to unit rows here. The
    computation uses the wider dtype of the two, at least float32.

    Args:
        feature_map: The feature map.
        query_tokens: (q, D) finite non-zero rows, q >= 1.
        document_tokens: (T, D) finite non-zero rows.
        offsets: (n + 1,), as for `late_interaction`.
        over: `map`, or a parallel version of it; the scores are bit-identical.

    Returns:
        (q, n) of that dtype, at most 0.

    Raises:
        InvalidVector: A row is zero or not finite, or the widths differ.
        QuantumError: The offsets are invalid, or there is no query token.
    """
    query_tokens, document_tokens = real_rows(query_tokens), real_rows(document_tokens)
    dtype = np.result_type(query_tokens, document_tokens, np.float32)
    query = directions(query_tokens, dtype)
    if not len(query):
        raise QuantumError("there must be at least one query token")
    if document_tokens.shape[1:] != query.shape[1:]:
        raise InvalidVector(f"both sides need the same width, got shapes {query.shape} and {document_tokens.shape}")
    bounds = _check_offsets(offsets, document_tokens.shape[0])

    def score(block: slice) -> Real:
        first, local = int(bounds[block.start]), bounds[block.start : block.stop + 1] - bounds[block.start]
        tokens = document_tokens[first : bounds[block.stop]]
        if tokens.dtype != np.int8:
            tokens = directions(tokens, dtype, first)
        best = best_log_fidelity(feature_map.bandwidth, query, tokens, local) if feature_map.is_product else None
        if best is None:
            tokens = directions(tokens, dtype, first)  # raises for a row without one
            best = np.maximum.reduceat(feature_map.log_fidelity(query, tokens), local[:-1], axis=1)
        return best

    blocks = list(_blocks(bounds))
    none = np.zeros((len(query), 0), dtype=dtype)
    return np.concatenate([none, *(over(score, blocks) if len(blocks) > 1 else map(score, blocks))], axis=1)


def _blocks(offsets: NDArray[np.int64]) -> Iterator[slice]:
    """Yield runs of documents with at most `_TOKENS_PER_BLOCK` tokens, or one document."""
    start = 0
    while start < offsets.size - 1:
        stop = int(np.searchsorted(offsets, offsets[start] + _TOKENS_PER_BLOCK, side="right")) - 1
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
