"""Feature maps: the encoding of a vector as one small quantum state per register.

A map is a short tuple of layers. The simulation here and the Qiskit circuits in quantum.circuits use the same
description, so they cannot diverge. A new map is one more function in `_MAPS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quantum.errors import CircuitTooLarge, InvalidVector, QuantumError
from quantum.simulator import Real, apply_cx, apply_ry, log_register_fidelity, product_state
from quantum.vectors import state_rows

MAX_QUBITS = 4

# Columns scored at once: their states, 2**n * R * block, and the overlaps fit into the CPU cache.
_BLOCK = 512


@dataclass(frozen=True)
class RyLayer:
    """RY(bandwidth * x[slots[i]]) on qubit i; x: the register's features."""

    slots: tuple[int, ...]


@dataclass(frozen=True)
class CxLayer:
    """CX on each (control, target)."""

    pairs: tuple[tuple[int, int], ...]


Layers: TypeAlias = tuple[RyLayer | CxLayer, ...]


@dataclass(frozen=True)
class FeatureMap:
    """A feature map with registers of `n_qubits` qubits; `feature_map` creates the built-in ones.

    bandwidth: h > 0, the factor from a feature to an angle in radians.
    """

    name: str
    n_qubits: int
    bandwidth: float
    layers: Layers

    def __post_init__(self) -> None:
        """Raise QuantumError for an invalid description."""
        if not (isfinite(self.bandwidth) and self.bandwidth > 0):
            raise QuantumError(f"bandwidth must be a finite number above 0, got {self.bandwidth}")
        if not self.layers or not isinstance(self.layers[0], RyLayer):
            raise QuantumError(f"map {self.name!r} must start with an RY layer: a CX leaves |0...0> as it is")
        if any(len(layer.slots) != self.n_qubits for layer in self._rotations):
            raise QuantumError(
                f"map {self.name!r} needs one slot for each of its {self.n_qubits} qubits in an RY layer"
            )

    @property
    def features_per_register(self) -> int:
        """The number of features that one register encodes."""
        return 1 + max(slot for layer in self._rotations for slot in layer.slots)

    @cached_property
    def is_product(self) -> bool:
        """Whether the map is one RY layer with one feature per qubit, which prepares product states.

        Then F(q, d) = prod_i cos(h (q_i - d_i) / 2)**2; quantum.maxsim and quantum.kernel use this closed form.
        """
        first, *rest = self.layers
        return not rest and isinstance(first, RyLayer) and sorted(first.slots) == list(range(self.n_qubits))

    def register_count(self, width: int) -> int:
        """Return the number of registers for `width` features; the last one is padded with zeros."""
        return -(-width // self.features_per_register)

    def register_states(self, x: NDArray[Any]) -> Real:
        """Return the state of each register of each row.

        x: (m, D) finite non-zero rows; callers pass unit rows. Returns (2**n_qubits, R, m), float32 for
        float32 (and narrower) rows, float64 for float64. Raises InvalidVector.
        """
        return self._states(state_rows(x))

    def log_fidelity(self, q: NDArray[Any], d: NDArray[Any]) -> Real:
        """Return log F(q, d), F = prod over registers of |<psi_q|psi_d>|**2, for all pairs.

        q: (a, D), d: (b, D), finite non-zero rows. Returns (a, b), at most 0 and always finite: a register
        contributes at least 2 log(epsilon of the dtype), see `log_register_fidelity`. The dtype is the
        wider of the two inputs', at least float32. Raises InvalidVector.
        """
        q, d = state_rows(q), state_rows(d)
        if q.shape[1] != d.shape[1]:
            raise InvalidVector(f"both sides need the same width, got {q.shape[1]} and {d.shape[1]} features")
        dtype = np.result_type(q, d)
        left = self._states(q.astype(dtype, copy=False))  # (2**n, R, a)
        out = np.empty((q.shape[0], d.shape[0]), dtype=dtype)
        for start in range(0, d.shape[0], _BLOCK):
            block = slice(start, start + _BLOCK)
            out[:, block] = log_register_fidelity(left, self._states(d[block].astype(dtype, copy=False)))
        return out

    def fidelity(self, q: NDArray[Any], d: NDArray[Any]) -> Real:
        """Return F(q, d) in [0, 1], (a, b), for all pairs of q (a, D) and d (b, D). Raises InvalidVector."""
        log_f = self.log_fidelity(q, d)
        return np.exp(log_f, out=log_f)

    @property
    def _rotations(self) -> list[RyLayer]:
        return [layer for layer in self.layers if isinstance(layer, RyLayer)]

    def _states(self, x: Real) -> Real:
        angles = self._angles(x)  # (features per register, R, m)
        state = product_state(angles[list(self._rotations[0].slots)])  # (2**n, R, m)
        for layer in self.layers[1:]:
            if isinstance(layer, RyLayer):
                for qubit, slot in enumerate(layer.slots):
                    state = apply_ry(state, qubit, angles[slot])
            else:
                for control, target in layer.pairs:
                    state = apply_cx(state, control, target)
        return state

    def _angles(self, x: Real) -> Real:
        """Return the (features per register, R, m) angles of (m, D) rows, with zero padding in the last register."""
        rows, width = x.shape
        registers, slots = self.register_count(width), self.features_per_register
        angles = np.zeros((registers * slots, rows), dtype=x.dtype)
        np.multiply(x.T, self.bandwidth, out=angles[:width], casting="same_kind")
        return angles.reshape(registers, slots, rows).transpose(1, 0, 2)


def _angle(n_qubits: int) -> Layers:
    """RY(h x_i) on qubit i: a product state, n features per register."""
    return (RyLayer(tuple(range(n_qubits))),)


def _entangled(n_qubits: int) -> Layers:
    """RY, a CX brickwork over neighbours, RY: 2n features per register."""
    even = CxLayer(tuple((i, i + 1) for i in range(0, n_qubits - 1, 2)))
    odd = CxLayer(tuple((i, i + 1) for i in range(1, n_qubits - 1, 2)))
    first, second = tuple(range(n_qubits)), tuple(range(n_qubits, 2 * n_qubits))
    return (RyLayer(first), even, odd, RyLayer(second))


_MAPS: dict[str, Callable[[int], Layers]] = {"angle": _angle, "entangled": _entangled}


def feature_map(name: str = "angle", n_qubits: int = 4, bandwidth: float = 8**0.5) -> FeatureMap:
    """Create a built-in feature map. Angle encoding with a bandwidth: Shaydulin and Wild, arXiv:2111.05451.

    Args:
        name: "angle" or "entangled".
        n_qubits: Qubits per register: 2, 3 or 4.
        bandwidth: h > 0, the factor from a feature to an angle in radians.

    Raises:
        QuantumError: The name, size or bandwidth is not supported.
        CircuitTooLarge: More than 4 qubits.
    """
    if name not in _MAPS:
        raise QuantumError(f"unknown feature map {name!r}; known: {', '.join(sorted(_MAPS))}")
    if n_qubits > MAX_QUBITS:
        raise CircuitTooLarge(f"{n_qubits} qubits per register; use at most {MAX_QUBITS}")
    if n_qubits < 2:
        raise QuantumError(f"{n_qubits} qubits per register; use 2, 3 or {MAX_QUBITS}")
    return FeatureMap(name, n_qubits, bandwidth, _MAPS[name](n_qubits))
