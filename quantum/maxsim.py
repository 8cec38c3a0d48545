"""Late interaction: a document's score from the fidelities of its tokens.

Mean over query tokens of the best document token (Khattab and Zaharia 2020, arXiv:2004.12832), with fidelity
in the place of their cosine. `offsets` (n + 1,) says where documents lie in one flat run of T tokens:
document i is tokens offsets[i] to offsets[i + 1].

Product states need no simulation: one RY layer prepares a product of single qubits, so
F(q, d) = prod_i cos(h (q_i - d_i) / 2)**2. As cos(x)**2 <= exp(-x**2) for |x| <= pi/2, a cosine bounds it for unit
rows: log F <= -h**2 (1 - <q, d>) / 2. One matrix product thus bounds all pairs, and only those whose bound exceeds a
fidelity already found need the closed form itself: 1.1 of the 140 or so tokens of a passage. What is left out cannot be
the maximum, so nothing is approximated. docs/quantum.md has the proof.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quantum.errors import InvalidVector, QuantumError
from quantum.feature_maps import FeatureMap
from quantum.simulator import Real
from quantum.vectors import directions, real_rows

# The largest |h (q_i - d_i) / 2|: short of pi/2, where the bound ends and rounding is magnified by the tangent.
_WIDEST = 1.5

# Pairs (i, j) whose differences, (pairs, D), are held at once: they stay in the processor's cache.
_PAIRS_AT_ONCE = 256

# Simulating a token for a query tokens costs as much as the closed form of 4 + a/5 pairs (measured, D = 384).
_PAIRS_PER_TOKEN = 4.0
_PAIRS_PER_TOKEN_AND_QUERY_TOKEN = 0.2


def best_log_fidelity(bandwidth: float, q: Real, d: Real, offsets: NDArray[np.int64]) -> Real | None:
    """Log of the largest fidelity of each query token with any token of each document, for a product map.

    q: (a, D), d: (t, D), unit rows of one dtype; document i is d[offsets[i]:offsets[i + 1]], never empty.
    Returns (a, n) of that dtype, at most 0. None where the bound does not hold (angles near pi or above) or leaves so
    many pairs, as among a document's repeated tokens, that simulating all is cheaper.
    """
    if bandwidth / 2 * _widest_difference(q, d, 2 * _WIDEST / bandwidth) > _WIDEST:
        return None
    tokens, count = d.shape[0], offsets.size - 1
    document = np.repeat(np.arange(count), np.diff(offsets))  # (t,)
    bounds = q @ d.T  # (a, t)
    bounds -= 1
    bounds *= bandwidth**2 / 2
    budget = tokens * (_PAIRS_PER_TOKEN + _PAIRS_PER_TOKEN_AND_QUERY_TOKEN * q.shape[0])
    best = np.full((q.shape[0], count), -np.inf, dtype=q.dtype)
    # Rounding: of the cosines in the bounds, and of the log fidelities they are compared with.
    slack = q.shape[1] * np.finfo(q.dtype).eps * (bandwidth**2 + 2)
    # First each document's nearest token, then whatever may exceed its fidelity.
    least = np.maximum.reduceat(bounds, offsets[:-1], axis=1)  # (a, n)
    for _ in range(2):
        pairs = np.flatnonzero(bounds >= least.take(document, axis=1))  # i * t + j
        budget -= pairs.size
        if budget < 0:
            return None
        i, j = np.divmod(pairs, tokens)
        np.maximum.at(best, (i, document[j]), log_fidelity_of_pairs(bandwidth, q, d, i, j))
        np.put(bounds, pairs, -np.inf)
        least = best - slack
    return best


def log_fidelity_of_pairs(
    bandwidth: float, q: Real, d: Real, i: NDArray[np.integer[Any]], j: NDArray[np.integer[Any]]
) -> Real:
    """Log of prod_f cos(h (q[i, f] - d[j, f]) / 2)**2 for pairs of rows.

    q: (a, D), d: (t, D), of one dtype, every |h (q - d)| below pi; i, j: (p,). Returns (p,) of that dtype, at most 0.
    """
    out = np.empty(i.size, dtype=q.dtype)
    for start in range(0, i.size, _PAIRS_AT_ONCE):
        block = slice(start, start + _PAIRS_AT_ONCE)
        x = d[j[block]]  # (pairs, D), a copy
        x -= q[i[block]]
        x *= bandwidth / 2
        np.log(np.cos(x, out=x), out=x).sum(axis=1, out=out[block])
    out *= 2
    return out


def _widest_difference(q: Real, d: Real, enough: float) -> float:
    """A bound on every |q[i, f] - d[j, f]|: by the largest entries if that is enough, else feature by feature."""
    bound = sum(max(float(x.max()), -float(x.min())) for x in (q, d))
    if bound > enough:  # some models have a feature that is large in every token, and alike
        bound = float(np.maximum(q.max(axis=0) - d.min(axis=0), d.max(axis=0) - q.min(axis=0)).max())
    return bound


Offsets = NDArray[np.integer[Any]]
Scores: TypeAlias = NDArray[np.float64]

# Tokens whose unit rows and cosines are held at once, whatever the documents' number: they stay in the cache.
_TOKENS_PER_BLOCK = 2048


def late_interaction(log_f: Real, offsets: Offsets) -> NDArray[np.float64]:
    """Score of each document: the mean over query tokens of the max over its tokens of exp(log_f).

    log_f: (q, T) with q >= 1, at most 0. offsets: (n + 1,) integers, from 0 to T, rising by at least 1 each.
    Returns (n,) float64 in [0, 1]. Raises QuantumError for offsets that do not fit, naming an empty document.
    """
    if log_f.ndim != 2 or log_f.shape[0] == 0:
        raise QuantumError(f"log_f must be (q, T) with at least one query token, got shape {log_f.shape}")
    offsets = _checked(offsets, log_f.shape[1])
    if offsets.size == 1:
        return np.zeros(0)
    best = np.maximum.reduceat(log_f, offsets[:-1], axis=1)  # (q, n): exp is monotone, so max comes first
    return _mean(best)


def score_documents(
    feature_map: FeatureMap,
    query_tokens: NDArray[Any],
    document_tokens: NDArray[Any],
    offsets: Offsets,
    over: Callable[[Callable[[slice], Scores], Iterable[slice]], Iterable[Scores]] = map,
) -> NDArray[np.float64]:
    """Late-interaction score of each document, a block of whole documents at a time.

    over: `map`, or one like it that may call from several threads; the scores are the same to the last bit.

    query_tokens: (q, D), q >= 1. document_tokens: (T, D). Both are directions: rows of any real dtype (int8 as stored,
    or floats) and any length, finite and non-zero, scaled to length 1 here. The dtype computed in is the wider of the
    two, at least float32. offsets: (n + 1,), as for `late_interaction`. Returns (n,) float64 in [0, 1].
    Raises InvalidVector for rows without a state, QuantumError for offsets that do not fit.
    """
    query_tokens, document_tokens = real_rows(query_tokens), real_rows(document_tokens)
    dtype = np.result_type(query_tokens, document_tokens, np.float32)
    query = directions(query_tokens, dtype)
    if not len(query):
        raise QuantumError("score_documents needs at least one query token")
    if document_tokens.shape[1:] != query.shape[1:]:
        raise InvalidVector(f"both sides need one width, got shapes {query.shape} and {document_tokens.shape}")
    bounds = _checked(offsets, document_tokens.shape[0])

    def score(block: slice) -> Scores:
        first, local = int(bounds[block.start]), bounds[block.start : block.stop + 1] - bounds[block.start]
        tokens = directions(document_tokens[first : bounds[block.stop]], dtype, first)
        best = best_log_fidelity(feature_map.bandwidth, query, tokens, local) if feature_map.is_product else None
        if best is None:
            best = np.maximum.reduceat(feature_map.log_fidelity(query, tokens), local[:-1], axis=1)
        return _mean(best)

    blocks = list(_blocks(bounds))
    return np.concatenate([np.zeros(0), *(over(score, blocks) if len(blocks) > 1 else map(score, blocks))])


def _blocks(offsets: NDArray[np.int64]) -> Iterator[slice]:
    """The documents in runs of at most `_TOKENS_PER_BLOCK` tokens, and at least one document."""
    start = 0
    while start < offsets.size - 1:
        stop = int(np.searchsorted(offsets, offsets[start] + _TOKENS_PER_BLOCK, side="right")) - 1
        yield slice(start, start := max(stop, start + 1))


def _mean(best: Real) -> NDArray[np.float64]:
    """(q, n) logs of best fidelities to (n,) scores."""
    return np.asarray(np.exp(best, dtype=np.float64).mean(axis=0))


def _checked(offsets: Offsets, tokens: int) -> NDArray[np.int64]:
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
