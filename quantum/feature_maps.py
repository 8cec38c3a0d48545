"""Feature maps: the encoding of a vector as one small quantum state per register.

A map turns the features of a register into angles and is a short tuple of layers that use them. The simulation here and
the Qiskit circuits in quantum.circuits read the same description, so they cannot diverge. A new map is one more
function in `_MAPS`. To first order in the squared bandwidth the fidelity of `angle`, `amplitude` and `iqp` is
1 - h**2 |q - d|**2 / 4, so that their bandwidths compare.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite, pi
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quantum.errors import CircuitTooLarge, InvalidVector, QuantumError
from quantum.simulator import (
    Amplitudes,
    Real,
    apply_cx,
    apply_phases,
    apply_ry,
    log_register_fidelity,
    product_state,
    register_fidelities,
)
from quantum.vectors import state_rows

MAX_QUBITS = 4

# Columns scored at once: their states, 2**n * R * block, and the overlaps fit into the CPU cache.
_BLOCK = 512


@dataclass(frozen=True)
class RyLayer:
    """RY(angle[slots[i]]) on qubit i; None: nothing."""

    slots: tuple[int | None, ...]


@dataclass(frozen=True)
class CxLayer:
    """CX on each (control, target)."""

    pairs: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class TurnLayer:
    """RY(angle) on every qubit, by the same fixed angle in radians."""

    angle: float


@dataclass(frozen=True)
class PhaseLayer:
    """exp(-i angle[slot] Z_S / 2) for each (S, slot): RZ where S has one qubit, RZZ where two. All commute."""

    terms: tuple[tuple[tuple[int, ...], int], ...]


Layer: TypeAlias = RyLayer | CxLayer | TurnLayer | PhaseLayer
Layers: TypeAlias = tuple[Layer, ...]

# From a register's features, (k, ...), and the bandwidth to its angles in radians, (slots, ...).
Encoding: TypeAlias = Callable[[Any, Any], Any]


def scaled(x: Any, bandwidth: Any) -> Any:
    """Angle i is h x_i. Works on arrays of Qiskit's parameters, too."""
    return x * bandwidth


def with_products(x: Any, bandwidth: Any) -> Any:
    """The angles h x_i, then h**2 x_i x_(i+1) of neighbours. Works on arrays of Qiskit's parameters, too."""
    angles = x * bandwidth
    return np.concatenate([angles, angles[:-1] * angles[1:]])


def with_bias(x: Any, bandwidth: Any) -> Any:
    """The angles that prepare (1, t_1, t_2, t_3)/norm on two qubits, t = h x / 2, for each three features.

    One feature that is left over gets a qubit of its own, (1, t)/norm. State preparation by multiplexed rotations:
    Mottonen et al. 2004, arXiv:quant-ph/0407010.
    """
    t = x * (bandwidth / 2)
    angles = []
    for start in range(0, len(t) - 2, 3):
        low, high, both = t[start : start + 3]  # amplitudes of 01, 10 and 11; that of 00 is 1
        control = 2 * np.arctan2(np.hypot(high, both), np.hypot(1, low))
        zero, one = 2 * np.arctan(low), 2 * np.arctan2(both, high)  # of the target, by the control's value
        angles += [(zero + one) / 2, control, (zero - one) / 2]
    if len(t) % 3:
        angles.append(2 * np.arctan(t[-1]))
    return np.stack(angles)


@dataclass(frozen=True)
class FeatureMap:
    """A feature map with registers of `n_qubits` qubits; `feature_map` creates the built-in ones.

    bandwidth: h > 0, the factor from a feature to an angle in radians.
    encoding: From features to angles.
    features: How many one register encodes; None: as many as there are angles.
    """

    name: str
    n_qubits: int
    bandwidth: float
    layers: Layers
    encoding: Encoding = field(default=scaled, repr=False)
    features: int | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Raise QuantumError for an invalid description."""
        if not (isfinite(self.bandwidth) and self.bandwidth > 0):
            raise QuantumError(f"bandwidth must be a finite number above 0, got {self.bandwidth}")
        first = self.layers[0] if self.layers else None
        if not (isinstance(first, TurnLayer) or (isinstance(first, RyLayer) and None not in first.slots)):
            raise QuantumError(f"map {self.name!r} must start with an RY layer: a CX leaves |0...0> as it is")
        rotations = [layer for layer in self.layers if isinstance(layer, RyLayer)]
        if any(len(layer.slots) != self.n_qubits for layer in rotations):
            raise QuantumError(
                f"map {self.name!r} needs one slot for each of its {self.n_qubits} qubits in an RY layer"
            )
        terms = [qubits for layer in self.layers if isinstance(layer, PhaseLayer) for qubits, _ in layer.terms]
        if any(len(qubits) not in {1, 2} or len(set(qubits)) != len(qubits) for qubits in terms):
            raise QuantumError(f"map {self.name!r} needs one qubit or two different ones in each phase")
        if not self.slots:
            raise QuantumError(f"map {self.name!r} encodes no feature: give one of its layers a slot")

    @cached_property
    def slots(self) -> int:
        """The number of angles of one register."""
        used = [slot for layer in self.layers if isinstance(layer, RyLayer) for slot in layer.slots if slot is not None]
        used += [slot for layer in self.layers if isinstance(layer, PhaseLayer) for _, slot in layer.terms]
        return 1 + max(used, default=-1)

    @property
    def features_per_register(self) -> int:
        """The number of features that one register encodes."""
        return self.slots if self.features is None else self.features

    @cached_property
    def is_product(self) -> bool:
        """Whether the map is one RY layer with one feature per qubit, which prepares product states.

        Then F(q, d) = prod_i cos(h (q_i - d_i) / 2)**2; quantum.maxsim and quantum.kernel use this closed form.
        """
        first, *rest = self.layers
        return (
            self.encoding is scaled
            and self.features in {None, self.n_qubits}
            and not rest
            and isinstance(first, RyLayer)
            and sorted(slot for slot in first.slots if slot is not None) == list(range(self.n_qubits))
        )

    def register_count(self, width: int) -> int:
        """Return the number of registers for `width` features; the last one is padded with zeros."""
        return -(-width // self.features_per_register)

    def register_states(self, x: NDArray[Any]) -> Amplitudes:
        """Return the state of each register of each row.

        x: (m, D) finite non-zero rows; callers pass unit rows. Returns (2**n_qubits, R, m), of single precision for
        float32 (and narrower) rows, double for float64; complex if the map has phases. Raises InvalidVector.
        """
        return self._states(state_rows(x))

    def angles(self, x: NDArray[Any]) -> Real:
        """Return the angles of each register of each row, in radians.

        x: (m, D) finite non-zero rows. Returns (slots, R, m). Raises InvalidVector.
        """
        return self._angles(state_rows(x))

    def register_fidelities(self, q: NDArray[Any], d: NDArray[Any]) -> NDArray[np.float64]:
        """Return F_r = |<psi_r(q)|psi_r(d)>|**2 in [0, 1] of each register of all pairs, in float64.

        q: (a, D), d: (b, D), finite non-zero rows. Returns (a, b, R). Raises InvalidVector.
        """
        q, d = same_width(q, d)
        left, right = (self._states(rows.astype(np.float64, copy=False)) for rows in (q, d))
        return np.asarray(register_fidelities(left, right), dtype=np.float64)

    def log_fidelity(self, q: NDArray[Any], d: NDArray[Any]) -> Real:
        """Return log F(q, d), F = prod over registers of |<psi_q|psi_d>|**2, for all pairs.

        q: (a, D), d: (b, D), finite non-zero rows. Returns (a, b), at most 0 and always finite: a register
        contributes at least 2 log(epsilon of the dtype), see `log_register_fidelity`. The dtype is the
        wider of the two inputs', at least float32. Raises InvalidVector.
        """
        q, d = same_width(q, d)
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

    def _states(self, x: Real) -> Amplitudes:
        angles = self._angles(x)  # (slots, R, m)
        first, *rest = self.layers
        if isinstance(first, RyLayer):
            start = angles[[slot for slot in first.slots if slot is not None]]
        else:
            turn = first.angle if isinstance(first, TurnLayer) else 0.0
            start = np.full((self.n_qubits, *angles.shape[1:]), turn, dtype=angles.dtype)
        state: Amplitudes = product_state(start)  # (2**n, R, m)
        for layer in rest:
            state = _applied(layer, state, angles)
        return state

    def _angles(self, x: Real) -> Real:
        """The (slots, R, m) angles of (m, D) rows, with zero features as padding in the last register.

        Raises InvalidVector where a row is so large that they are not finite.
        """
        rows, width = x.shape
        registers, k = self.register_count(width), self.features_per_register
        features = np.zeros((registers * k, rows), dtype=x.dtype)
        features[:width] = x.T
        with np.errstate(over="ignore"):
            angles: Real = self.encoding(features.reshape(registers, k, rows).transpose(1, 0, 2), self.bandwidth)
        if not (isfinite(angles.min(initial=0)) and isfinite(angles.max(initial=0))):
            raise InvalidVector(f"a row is too large: the map {self.name!r} gives it no finite angles; pass unit rows")
        return angles


def same_width(q: NDArray[Any], d: NDArray[Any]) -> tuple[Real, Real]:
    """Check both sides of a comparison: (a, D) and (b, D) rows as float32 or wider; InvalidVector if they differ."""
    q, d = state_rows(q), state_rows(d)
    if q.shape[1] != d.shape[1]:
        raise InvalidVector(f"both sides need the same width, got {q.shape[1]} and {d.shape[1]} features")
    return q, d


def _applied(layer: Layer, state: Amplitudes, angles: Real) -> Amplitudes:
    """The (2**n, R, m) state after a layer with (slots, R, m) angles."""
    if isinstance(layer, PhaseLayer):
        return apply_phases(state, [qubits for qubits, _ in layer.terms], angles[[slot for _, slot in layer.terms]])
    if isinstance(layer, CxLayer):
        for control, target in layer.pairs:
            state = apply_cx(state, control, target)
    elif isinstance(layer, TurnLayer):
        for qubit in range(state.shape[0].bit_length() - 1):
            state = apply_ry(state, qubit, layer.angle)
    else:
        for qubit, slot in enumerate(layer.slots):
            if slot is not None:
                state = apply_ry(state, qubit, angles[slot])
    return state


Description: TypeAlias = tuple[Layers, Encoding, int]  # layers, encoding, features of one register


def _angle(n_qubits: int) -> Description:
    """RY(h x_i) on qubit i: a product state, n features per register."""
    return (RyLayer(tuple(range(n_qubits))),), scaled, n_qubits


def _entangled(n_qubits: int) -> Description:
    """RY, a CX brickwork over neighbours, RY: 2n features per register."""
    even = CxLayer(tuple((i, i + 1) for i in range(0, n_qubits - 1, 2)))
    odd = CxLayer(tuple((i, i + 1) for i in range(1, n_qubits - 1, 2)))
    first, second = tuple(range(n_qubits)), tuple(range(n_qubits, 2 * n_qubits))
    return (RyLayer(first), even, odd, RyLayer(second)), scaled, 2 * n_qubits


def _amplitude(n_qubits: int) -> Description:
    """Three features and a bias as the amplitudes of each two qubits; one feature on a qubit that is left over."""
    pairs, single = divmod(n_qubits, 2)
    alone = (3 * pairs,) * single
    first = tuple(slot for pair in range(pairs) for slot in (3 * pair, 3 * pair + 1)) + alone
    second = tuple(slot for pair in range(pairs) for slot in (3 * pair + 2, None)) + (None,) * single
    multiplex = CxLayer(tuple((2 * pair + 1, 2 * pair) for pair in range(pairs)))
    return (RyLayer(first), multiplex, RyLayer(second), multiplex), with_bias, 3 * pairs + single


def _iqp(n_qubits: int) -> Description:
    """RY(pi/2) on |0...0>, then RZ(h x_i) and RZZ(h**2 x_i x_(i+1)): n features per register.

    One repetition of the map of Havlicek et al. 2019, on neighbours, with x_i x_j for their (pi - x_i)(pi - x_j), as in
    Huang et al. 2021, DOI 10.1038/s41467-021-22539-9. Their two repetitions are deeper than 15, see the tests.
    """
    # Two matchings, so that gates run at the same time: the RZ of each pair's first qubit follows its RZZ.
    even, odd = (
        tuple(term for i in range(start, n_qubits - 1, 2) for term in (((i, i + 1), n_qubits + i), ((i,), i)))
        for start in (0, 1)
    )
    last = ((n_qubits - 1,), n_qubits - 1)  # never the first of a pair, and free while one of both runs
    return (TurnLayer(pi / 2), PhaseLayer((*even, last, *odd))), with_products, n_qubits


_MAPS: dict[str, Callable[[int], Description]] = {
    "angle": _angle,
    "entangled": _entangled,
    "amplitude": _amplitude,
    "iqp": _iqp,
}
MAPS = tuple(_MAPS)


def feature_map(name: str = "angle", n_qubits: int = 4, bandwidth: float = 8**0.5) -> FeatureMap:
    """Create a built-in feature map. Angle encoding with a bandwidth: Shaydulin and Wild, arXiv:2111.05451.

    Args:
        name: "angle", "entangled", "amplitude" or "iqp"; see docs/quantum.md.
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
    return FeatureMap(name, n_qubits, bandwidth, *_MAPS[name](n_qubits))
