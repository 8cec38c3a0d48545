"""Validation and normalisation of input rows."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from quantum.errors import InvalidVector
from quantum.simulator import Real


def real_rows(x: NDArray[Any]) -> NDArray[Any]:
    """Return x as an array (m, D) of real numbers, D >= 1; InvalidVector for anything else."""
    x = np.asarray(x)
    if x.ndim != 2 or x.shape[1] == 0 or x.dtype.kind not in "fiu":
        raise InvalidVector(f"expected rows (m, D) of real numbers, got {x.dtype} of shape {x.shape}")
    return x


def state_rows(x: NDArray[Any]) -> Real:
    """Return the rows (m, D) as float32 or wider; InvalidVector for a zero or non-finite row."""
    x = real_rows(x)
    # Two reductions without temporaries; NaN and infinity reach at least one of them.
    low, high = x.min(axis=1), x.max(axis=1)
    _raise_invalid(np.flatnonzero(~np.isfinite(low) | ~np.isfinite(high) | ((low == 0) & (high == 0))))
    return x.astype(np.result_type(x, np.float32), copy=False)


def scales_of(rows: NDArray[np.int8]) -> NDArray[np.float32]:
    """Return what makes unit rows of (m, D) int8 rows, the inverse of their norms: (m,); infinite for a row of 0."""
    floats = rows.astype(np.float32)
    with np.errstate(divide="ignore"):
        scales: NDArray[np.float32] = 1 / np.sqrt(np.vecdot(floats, floats))
    return scales


def directions(x: NDArray[Any], dtype: DTypeLike, first: int = 0) -> Real:
    """Return a copy of the rows, scaled to unit norm.

    Args:
        x: (m, D) real rows of any scale.
        dtype: A float dtype wide enough for x.
        first: The number of row 0 in error messages.

    Returns:
        (m, D) unit rows of dtype.

    Raises:
        InvalidVector: A row is zero or not finite.
    """
    unit: Real = real_rows(x).astype(dtype)
    limits = np.finfo(unit.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.vecdot(unit, unit)  # (m,)
    extreme = np.flatnonzero(~((squares > limits.tiny / limits.eps) & (squares <= limits.max)))
    if extreme.size:
        squares[extreme] = _scaled_squares(unit, extreme, first)
    unit *= (1 / np.sqrt(squares))[:, np.newaxis]
    return unit


def _scaled_squares(unit: Real, extreme: NDArray[np.integer[Any]], first: int) -> Real:
    """Scale rows whose squared norm under- or overflows to a largest entry of 1, in place; return their squared norms.

    InvalidVector for those that are zero or not finite.
    """
    peak = np.abs(unit[extreme]).max(axis=1)
    _raise_invalid(first + extreme[~(np.isfinite(peak) & (peak > 0))])
    unit[extreme] /= peak[:, np.newaxis]
    squares: Real = np.vecdot(unit[extreme], unit[extreme])
    return squares


def _raise_invalid(invalid: NDArray[np.integer[Any]]) -> None:
    if invalid.size:
        raise InvalidVector(
            f"row {invalid[0]} is zero or not finite and has no direction: leave it out or encode it again"
        )
