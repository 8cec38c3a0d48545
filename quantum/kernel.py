"""Fidelities among the rows of one batch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum.feature_maps import FeatureMap
from quantum.series import log_gram
from quantum.vectors import state_rows


def gram(feature_map: FeatureMap, x: NDArray[Any]) -> NDArray[np.float64]:
    """The fidelity kernel's Gram matrix over the rows of one batch.

    x: (n, D), finite non-zero rows. Returns (n, n) float64: symmetric, 1 on the diagonal, entries in [0, 1],
    positive semidefinite up to rounding (a product of Gram matrices, Schur 1911). Raises InvalidVector.
    """
    rows = state_rows(x).astype(np.float64)  # float32 rounding would cost the smallest eigenvalues their sign
    log_f = log_gram(feature_map.bandwidth, rows) if feature_map.is_product and len(rows) else None
    if log_f is None:
        simulated = feature_map.log_fidelity(rows, rows)
        log_f = np.asarray((simulated + simulated.T) / 2, dtype=np.float64)
    np.exp(log_f, out=log_f)
    np.fill_diagonal(log_f, 1.0)
    return log_f
