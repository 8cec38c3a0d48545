"""The gates of a feature map's circuits, their number and depth, without Qiskit, which serving does not import."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from quantum.errors import CircuitTooLarge
from quantum.feature_maps import MAX_QUBITS, CxLayer, FeatureMap, Layer, PhaseLayer, TurnLayer

MAX_DEPTH = 15
BASIS_GATES = ("ry", "rz", "cx")


@dataclass(frozen=True)
class CircuitSize:
    """The size of a circuit in the basis {ry, rz, cx}. counts: (gate name, number of gates), sorted by name."""

    qubits: int
    depth: int
    counts: tuple[tuple[str, int], ...]

    @property
    def two_qubit_gates(self) -> int:
        """How many CX there are."""
        return dict(self.counts).get("cx", 0)


@dataclass(frozen=True)
class Gate:
    """One gate of U(d)^dagger U(q). Its angle is constant + query[q_slot] - document[d_slot]; None: no such part."""

    name: Literal["ry", "rz", "cx"]
    qubits: tuple[int, ...]
    q_slot: int | None = None
    d_slot: int | None = None
    constant: float = 0.0

    @property
    def is_bound(self) -> bool:
        """Whether no register decides about it."""
        return self.q_slot is None and self.d_slot is None


def compute_uncompute(feature_map: FeatureMap) -> tuple[Gate, ...]:
    """Return the gates of U(d)^dagger U(q), merged where U(q) ends and U(d)^dagger begins.

    There, layers that depend on no feature cancel, and one layer of RY, or a run of phases, which all commute, becomes
    one of the differences of angles. So does the last rotation of a qubit that this layer leaves alone. A device thus
    runs fewer gates: transpilers do not merge gates whose angles are parameters.
    """
    head = list(feature_map.layers)
    while isinstance(head[-1], (CxLayer, TurnLayer)):
        head.pop()
    seam: list[Layer] = [head.pop()]
    while head and isinstance(seam[-1], PhaseLayer) and isinstance(head[-1], PhaseLayer):
        seam.append(head.pop())
    n = feature_map.n_qubits
    middle = [gate for layer in reversed(seam) for gate in gates_of(layer, n, 1, 1)]
    idle = set(range(n)).difference(*(gate.qubits for gate in middle))  # from here to the seam
    before: list[Gate] = []  # last gate first
    for gate in reversed([gate for layer in head for gate in gates_of(layer, n, 1, 0)]):
        if not idle.issuperset(gate.qubits):
            before.append(gate)
        elif gate.is_bound:  # nothing lies between it and its inverse
            continue
        else:
            middle.append(replace(gate, d_slot=gate.q_slot))
        idle.difference_update(gate.qubits)
    after = (replace(gate, q_slot=None, d_slot=gate.q_slot, constant=-gate.constant) for gate in before)
    return (*reversed(before), *middle, *after)


def gates_of(layer: Layer, n_qubits: int, query: int, document: int) -> list[Gate]:
    """The gates of a layer of U(q), of U(d)^dagger, or of both at the seam."""
    if isinstance(layer, CxLayer):
        return [Gate("cx", pair) for pair in layer.pairs]
    if isinstance(layer, TurnLayer):
        return [Gate("ry", (qubit,), constant=(query - document) * layer.angle) for qubit in range(n_qubits)]

    def rotation(name: Literal["ry", "rz"], qubit: int, slot: int) -> Gate:
        return Gate(name, (qubit,), slot if query else None, slot if document else None)

    if isinstance(layer, PhaseLayer):
        return _phases(layer, partial(rotation, "rz"))
    return [rotation("ry", qubit, slot) for qubit, slot in enumerate(layer.slots) if slot is not None]


def _phases(layer: PhaseLayer, rz: Callable[[int, int], Gate]) -> list[Gate]:
    """RZ as it is, and RZZ as CX, RZ on the target, CX; the RZ of the control runs beside that of the target."""
    gates: list[Gate] = []
    for qubits, slot in layer.terms:
        last = gates[-1] if gates else None
        if len(qubits) == 2:
            gates += [Gate("cx", qubits), rz(qubits[1], slot), Gate("cx", qubits)]
        elif last and last.name == "cx" and last.qubits[0] == qubits[0]:
            gates.insert(-1, rz(qubits[0], slot))  # it commutes with the CX that it controls
        else:
            gates.append(rz(qubits[0], slot))
    return gates


def check_limits(feature_map: FeatureMap) -> CircuitSize:
    """Return the size of the map's compute-uncompute circuit, where rotations that follow each other are one.

    Qiskit finds the same for every built-in map; of a map of one's own it may merge more gates, never fewer. Raises
    CircuitTooLarge, with both numbers, above 4 qubits or depth 15.
    """
    qubits = feature_map.n_qubits
    ends, last, counts = [0] * qubits, [""] * qubits, Counter[str]()  # of each qubit: its depth, its last gate
    for gate in compute_uncompute(feature_map):
        if gate.name != "cx" and gate.name == last[gate.qubits[0]]:
            continue
        counts[gate.name] += 1
        end = 1 + max(ends[qubit] for qubit in gate.qubits)
        for qubit in gate.qubits:
            ends[qubit], last[qubit] = end, gate.name
    depth = max(ends)
    if qubits > MAX_QUBITS or depth > MAX_DEPTH:
        raise CircuitTooLarge(
            f"the circuit has {qubits} qubits and depth {depth}; "
            f"at most {MAX_QUBITS} qubits and depth {MAX_DEPTH} are allowed: use fewer qubits or layers"
        )
    return CircuitSize(qubits, depth, tuple(sorted(counts.items())))
