"""Product states: the best fidelity of each query token with each document's tokens, in closed form.

One RY layer prepares a product of single qubits, so F(q, d) = prod_i cos(h (q_i - d_i) / 2)**2. As
cos(x)**2 <= exp(-x**2) for |x| <= pi/2, a cosine bounds it for unit rows: log F <= -h**2 (1 - <q, d>) / 2. One matrix
product thus bounds all pairs, and only those whose bound exceeds a fidelity already found need the closed form itself:
1.1 of the 140 or so tokens of a passage. What is left out cannot be the maximum, so nothing is approximated.
docs/quantum.md has the proof.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum.simulator import Real

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
