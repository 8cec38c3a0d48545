"""Rows that have a state, and their directions."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from quantum.errors import InvalidVector
from quantum.simulator import Real


def real_rows(x: NDArray[Any]) -> NDArray[Any]:
    """The argument as an array, once it is known to be rows (m, D) of real numbers, D >= 1; InvalidVector otherwise."""
    x = np.asarray(x)
    if x.ndim != 2 or x.shape[1] == 0 or x.dtype.kind not in "fiu":
        raise InvalidVector(f"expected rows (m, D) of real numbers, got {x.dtype} of shape {x.shape}")
    return x


def state_rows(x: NDArray[Any]) -> Real:
    """The rows (m, D) as float32 or wider, once each is known to have a state; InvalidVector otherwise."""
    x = real_rows(x)
    # Two reductions without temporaries; NaN and infinity reach at least one of them.
    low, high = x.min(axis=1), x.max(axis=1)
    _refuse(np.flatnonzero(~np.isfinite(low) | ~np.isfinite(high) | ((low == 0) & (high == 0))))
    return x.astype(np.result_type(x, np.float32), copy=False)


def directions(x: NDArray[Any], dtype: DTypeLike, first: int = 0) -> Real:
    """A copy of the rows, each scaled to length 1.

    x: (m, D) real rows of any scale. dtype: a float wide enough for x. first: the number by which errors call row 0.
    Returns (m, D) of dtype. Raises InvalidVector for a zero or non-finite row.
    """
    unit: Real = real_rows(x).astype(dtype)
    limits = np.finfo(unit.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.vecdot(unit, unit)  # (m,)
    # Squares beyond what the dtype holds in full precision: a row without direction, or one of an extreme scale.
    odd = np.flatnonzero(~((squares > limits.tiny / limits.eps) & (squares <= limits.max)))
    if odd.size:
        peak = np.abs(unit[odd]).max(axis=1)
        _refuse(first + odd[~(np.isfinite(peak) & (peak > 0))])
        unit[odd] /= peak[:, np.newaxis]
        squares[odd] = np.vecdot(unit[odd], unit[odd])
    unit *= (1 / np.sqrt(squares))[:, np.newaxis]
    return unit


def _refuse(bad: NDArray[np.integer[Any]]) -> None:
    if bad.size:
        raise InvalidVector(f"row {bad[0]} is zero or not finite and has no direction: leave it out or encode it again")
