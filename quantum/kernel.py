"""The fidelity kernel: the fidelities of all pairs of rows in one batch.

For product states they are computed with a power series,

    -log cos(u/2)**2 = sum_k c_k u**(2k),   c_k > 0,   u = h (q_i - d_i)

where (q_i - d_i)**(2k) expands into products of a power of q_i and one of d_i, so the sum over features becomes matrix
products. The number of terms is chosen from a bound on the remainder; docs/quantum.md has the proof.
"""

from math import comb, pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum.feature_maps import FeatureMap
from quantum.simulator import Real
from quantum.vectors import state_rows

# The largest truncation error of a log fidelity.
_TOLERANCE = 1e-6

# Beyond about 40 terms the simulation is faster; 24 terms suffice for angles up to about 0.7 pi.
_MOST_TERMS = 24


def _coefficients(terms: int) -> list[float]:
    """Return c_0 to c_terms: c_k = t_(k-1) / (k 4**k), t_k being the coefficient of x**(2k+1) in tan x.

    The derivative of -log cos(u/2)**2 is tan(u/2), and tan' = 1 + tan**2 gives (2k+1) t_k = sum_i t_i t_(k-1-i).
    """
    tan = [1.0]
    for k in range(1, terms):
        tan.append(sum(a * b for a, b in zip(tan, reversed(tan), strict=True)) / (2 * k + 1))
    return [0.0] + [t / (k * 4.0**k) for k, t in enumerate(tan, 1)]


_C = _coefficients(_MOST_TERMS + 1)


def log_gram(bandwidth: float, x: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return log prod_f cos(h (x[i, f] - x[j, f]) / 2)**2 for all pairs of rows, with an error of about 1e-6.

    x: (n, D), n >= 1. Returns (n, n), symmetric and at most 0; None if 24 terms are too few, as for angles near pi.
    """
    # Only differences matter, so each feature is centred on the middle of its range, which keeps the powers small.
    u = bandwidth * (x - (x.max(axis=0) + x.min(axis=0)) / 2)
    narrow = u.astype(np.float32)
    terms = terms_needed(narrow)
    if terms is None:
        return None
    # The terms beyond the square are a small part of the sum: float32 is precise enough and twice as fast.
    # u_i**a u_j**b and u_i**b u_j**a have equal coefficients: the sum by lower exponent is added to its transpose.
    half = _products(narrow, terms)  # (n, n)
    half += polynomial(narrow * narrow, [0.0, 0.0, *_C[2 : terms + 1]]).sum(axis=1)[:, np.newaxis]  # exponent 0
    squares = np.vecdot(u, u)
    log_f: NDArray[np.float64] = u @ u.T
    log_f *= 2 * _C[1]
    log_f -= _C[1] * (squares[:, np.newaxis] + squares)
    log_f -= half + half.T
    return np.minimum(log_f, 0, out=log_f)


def _products(u: NDArray[np.float32], terms: int) -> NDArray[np.float32]:
    """Sum the products of powers, both of at least 1, in the expansions of (u_i - u_j)**(2k) for k from 2 to `terms`.

    u: (n, D). Returns (n, n); added to its transpose it is the whole sum.
    """
    squares, power = u * u, u.copy()
    total = np.zeros((len(u), len(u)), dtype=u.dtype)
    for low in range(1, terms + 1):  # the lower exponent
        # +-c_k binom(2k, low) u**(2k - low) for each k; the term k = low equals its transpose, so it is halved.
        factors = [(-1) ** low * comb(2 * k, low) * _C[k] for k in range(low, terms + 1)]
        factors[0] = factors[0] / 2 if low > 1 else 0.0
        total += (power * polynomial(squares, factors)) @ power.T
        power *= u
    return total


def polynomial(x: Real, factors: list[float]) -> Real:
    """Evaluate factors[0] + factors[1] x + ... by Horner's rule, in the dtype of x (polyval widens float32)."""
    value = np.full_like(x, factors[-1])
    for factor in reversed(factors[:-1]):
        value *= x
        value += factor
    return value


def terms_needed(u: Real) -> int | None:
    """Return the number of terms for a remainder below 1e-6 for every pair of rows; None if more than 24.

    u: (n, D) angles, n >= 1. With v = (2u/pi)**2 and V its largest entry, the remainder after K terms is at most
    c_(K+1) pi**(2K+2) max_row sum(v**(K+1)) / (1 - V): successive terms have a ratio below (u_i - u_j)**2/pi**2 <= V,
    and the 2k-norm of u_i - u_j is at most twice the largest row's (Minkowski).
    """
    v = (2 / pi * u) ** 2
    largest_v = float(v.max())
    if largest_v >= 1:
        return None
    power = v.copy()
    for terms in range(1, _MOST_TERMS + 1):
        power *= v
        row_sum = float(power.sum(axis=1).max())
        if _C[terms + 1] * pi ** (2 * terms + 2) * row_sum <= _TOLERANCE * (1 - largest_v):
            return terms
    return None


def gram(feature_map: FeatureMap, x: NDArray[Any]) -> NDArray[np.float64]:
    """Return the Gram matrix of the fidelity kernel for the rows of one batch.

    x: (n, D), finite non-zero rows. Returns (n, n) float64: symmetric, 1 on the diagonal, entries in [0, 1],
    positive semidefinite up to rounding (a product of Gram matrices, Schur 1911). Raises InvalidVector.
    """
    rows = state_rows(x).astype(np.float64)  # float32 rounding could make the smallest eigenvalues negative
    log_f = log_gram(feature_map.bandwidth, rows) if feature_map.is_product and len(rows) else None
    if log_f is None:
        simulated = feature_map.log_fidelity(rows, rows)
        log_f = np.asarray((simulated + simulated.T) / 2, dtype=np.float64)
    np.exp(log_f, out=log_f)
    np.fill_diagonal(log_f, 1.0)
    return log_f
