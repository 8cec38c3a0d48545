"""Fidelities among the rows of one batch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum.feature_maps import FeatureMap


def gram(feature_map: FeatureMap, x: NDArray[Any]) -> NDArray[np.float64]:
    """The fidelity kernel's Gram matrix over the rows of one batch.

    x: (n, D), finite non-zero rows. Returns (n, n) float64: symmetric, 1 on the diagonal, entries in [0, 1],
    positive semidefinite up to rounding (a product of Gram matrices, Schur 1911). Raises InvalidVector.
    """
    rows = np.asarray(x)
    if rows.dtype.kind in "fiu":
        rows = rows.astype(np.float64)  # float32 rounding would cost the smallest eigenvalues their sign
    matrix = np.asarray(feature_map.fidelity(rows, rows), dtype=np.float64)
    matrix = (matrix + matrix.T) / 2
    np.fill_diagonal(matrix, 1.0)
    return matrix
