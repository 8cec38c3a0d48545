"""The fidelity kernel: the fidelities of all pairs of rows in one batch.

For product states an addition theorem and the series of the logarithm turn it into matrix products,

    log cos(a - b)**2 = 2 log(1 + tan a tan b) - log(1 + tan(a)**2) - log(1 + tan(b)**2)
    log(1 + y) = y - y**2/2 + y**3/3 - ...

since a power of tan a tan b is the product of a power of each. The number of terms is chosen from a bound on the
remainder; docs/quantum.md has the proof.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum.feature_maps import FeatureMap
from quantum.simulator import Real
from quantum.vectors import state_rows

# The largest truncation error of a log fidelity.
_TOLERANCE = 1e-6

# Beyond about 40 terms the simulation is faster; 24 terms suffice for angles up to about 0.8 pi.
_MOST_TERMS = 24

_FACTORS = 512  # each below 2, so that their product is a float64


def log_gram(bandwidth: float, x: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return log prod_f cos(h (x[i, f] - x[j, f]) / 2)**2 for all pairs of rows, with an error of about 1e-6.

    x: (n, D), n >= 1. Returns (n, n), symmetric and at most 0; None if 24 terms are too few, as for angles near pi.
    """
    # Only differences matter, so each feature is centred on the middle of its range, which keeps the tangents small.
    tangents = np.tan(bandwidth / 2 * (x - (x.max(axis=0) + x.min(axis=0)) / 2))
    narrow = tangents.astype(np.float32)
    terms = terms_needed(narrow)
    if terms is None:
        return None
    log_f: NDArray[np.float64] = tangents @ tangents.T
    power = narrow.copy()
    for k in range(2, terms + 1):  # a small part of the sum: float32 is precise enough and twice as fast
        power *= narrow
        log_f -= (-1) ** k / k * (power @ power.T)
    # The tangents are below 1: the logarithm of many factors is taken at once.
    blocks = np.arange(0, x.shape[1], _FACTORS)
    norms = np.log(np.multiply.reduceat(1 + tangents * tangents, blocks, axis=1)).sum(axis=1)
    log_f *= 2
    log_f -= norms[:, np.newaxis] + norms
    return np.minimum(log_f, 0, out=log_f)


def terms_needed(tangents: Real) -> int | None:
    """Return the number of terms for a remainder below 1e-6 for every pair of rows; None if more than 24.

    tangents: (n, D), n >= 1. With X their largest square, the remainder after K terms is at most
    2 max_row sum(tangents**(2K+2)) / ((K + 1) (1 - X)), by the inequality of Cauchy and Schwarz.
    """
    squares = tangents * tangents
    largest = float(squares.max())
    if not largest < 1:  # nor for NaN
        return None
    power = squares.copy()
    for terms in range(1, _MOST_TERMS + 1):
        power *= squares
        if 2 * float(power.sum(axis=1).max()) <= _TOLERANCE * (terms + 1) * (1 - largest):
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
