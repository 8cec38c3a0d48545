"""The fidelity kernels of feature maps in closed form, where there is one; docs/quantum.md derives them.

They are what the simulation is held to, and what says that these kernels are classical: each is a short formula.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum.feature_maps import FeatureMap, same_width

Registers = NDArray[np.float64]  # (R, m, k): the k features of each register of m rows


def closed_form(feature_map: FeatureMap, q: NDArray[Any], d: NDArray[Any]) -> NDArray[np.float64] | None:
    """Return F(q, d), (a, b) in float64, for all pairs of q (a, D) and d (b, D); None if the map has no closed form.

    Raises InvalidVector.
    """
    formula = _FORMULAS.get(feature_map.name)
    if formula is None:
        return None
    left, right = (_registers(feature_map, rows) for rows in same_width(q, d))
    fidelity: NDArray[np.float64] = formula(feature_map, left, right).prod(axis=0)
    return fidelity


def _registers(feature_map: FeatureMap, x: NDArray[Any]) -> Registers:
    rows, width = x.shape
    registers, k = feature_map.register_count(width), feature_map.features_per_register
    padded = np.zeros((rows, registers * k))
    padded[:, :width] = x
    return padded.reshape(rows, registers, k).transpose(1, 0, 2)


def _angle(feature_map: FeatureMap, q: Registers, d: Registers) -> NDArray[np.float64]:
    """prod_i cos(h (q_i - d_i) / 2)**2."""
    half = feature_map.bandwidth / 2 * (q[:, :, np.newaxis] - d[:, np.newaxis])  # (R, a, b, k)
    return np.asarray((np.cos(half) ** 2).prod(axis=-1))


def _amplitude(feature_map: FeatureMap, q: Registers, d: Registers) -> NDArray[np.float64]:
    """(1 + <s, t>)**2 / ((1 + |s|**2) (1 + |t|**2)) of each pair of qubits, s = h q / 2 and t = h d / 2."""
    s, t = feature_map.bandwidth / 2 * q, feature_map.bandwidth / 2 * d
    fidelity = np.ones((q.shape[0], q.shape[1], d.shape[1]))
    for start in range(0, q.shape[2], 3):
        left, right = s[..., start : start + 3], t[..., start : start + 3]
        norms = (1 + (left**2).sum(axis=-1))[:, :, np.newaxis] * (1 + (right**2).sum(axis=-1))[:, np.newaxis]
        fidelity *= (1 + left @ right.transpose(0, 2, 1)) ** 2 / norms
    return fidelity


def _iqp(feature_map: FeatureMap, q: Registers, d: Registers) -> NDArray[np.float64]:
    """|2**-n sum_z exp(i g(z) / 2)|**2; g(z) = sum_i h (q_i - d_i) s_i + sum_i h**2 (q_i q_i+1 - d_i d_i+1) s_i s_i+1.

    s = +-1 are the n signs, one for each qubit.
    """
    n, h = feature_map.n_qubits, feature_map.bandwidth
    signs = 1.0 - 2 * (np.arange(2**n)[:, np.newaxis] >> np.arange(n) & 1)  # (2**n, n)
    products = signs[:, :-1] * signs[:, 1:]
    left, right = (h * x @ signs.T + h**2 * (x[..., :-1] * x[..., 1:]) @ products.T for x in (q, d))  # (R, m, 2**n)
    amplitudes = np.exp(0.5j * (left[:, :, np.newaxis] - right[:, np.newaxis])).mean(axis=-1)
    return np.asarray(np.abs(amplitudes) ** 2)


_FORMULAS: dict[str, Callable[[FeatureMap, Registers, Registers], NDArray[np.float64]]] = {
    "angle": _angle,
    "amplitude": _amplitude,
    "iqp": _iqp,
}
