"""Compiling the one circuit for a target: its size after routing, and where its qubits lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qiskit import ClassicalRegister, QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.transpiler import TranspilerError
from qiskit.transpiler.preset_passmanagers import generate_preset_pass_manager

from quantum.errors import CircuitTooLarge, QuantumError
from quantum.feature_maps import MAX_QUBITS
from quantum.gates import BASIS_GATES, MAX_DEPTH

_SEED = 20  # of the layout, so that the same circuit lies on the same qubits


@dataclass(frozen=True)
class Routed:
    """A parametrised circuit as a target runs it."""

    circuit: QuantumCircuit
    parameters: tuple[Parameter, ...]  # in the order of `bound_angles`
    qubits: tuple[int, ...]  # where the circuit's qubits lie at its end

    @property
    def depth(self) -> int:
        """Gates one after the other, without measurements."""
        return int(self.circuit.depth())

    @property
    def two_qubit_gates(self) -> int:
        """How many there are."""
        return int(self.circuit.num_nonlocal_gates())

    def measured(self) -> QuantumCircuit:
        """The circuit with its qubits measured into "meas", bit i from qubit i."""
        bits = ClassicalRegister(len(self.qubits), "meas")
        measured = self.circuit.copy()
        measured.add_register(bits)
        measured.measure(list(self.qubits), bits)
        return measured


def route(circuit: QuantumCircuit, device: Any = None, *, allow_deep: bool = False) -> Routed:
    """Compile a circuit for a device as a whole; without one, into {ry, rz, cx}, every qubit coupled with every other.

    Raises CircuitTooLarge above 4 qubits or those of the device, and beyond depth 15 unless that is allowed; another
    QuantumError if it cannot be compiled for the device.
    """
    if circuit.num_qubits > MAX_QUBITS:
        raise CircuitTooLarge(f"the circuit has {circuit.num_qubits} qubits; at most {MAX_QUBITS} are run")
    if device and circuit.num_qubits > device.num_qubits:
        raise CircuitTooLarge(
            f"the circuit has {circuit.num_qubits} qubits and {device.name} has {device.num_qubits}: "
            "use a larger device, or fewer qubits"
        )
    target = device.name if device else "all-to-all coupling"
    options: dict[str, Any] = {"basis_gates": list(BASIS_GATES)} if device is None else {"backend": device}
    manager = generate_preset_pass_manager(optimization_level=3 if device else 1, seed_transpiler=_SEED, **options)
    try:
        compiled = manager.run(circuit)
    except TranspilerError as error:
        raise QuantumError(
            f"the circuit cannot be compiled for {target}: {error.message}; use another device or map"
        ) from error
    layout = compiled.layout.final_index_layout() if compiled.layout else range(circuit.num_qubits)
    routed = Routed(compiled, tuple(circuit.parameters), tuple(layout))
    if routed.depth > MAX_DEPTH and not allow_deep:
        raise CircuitTooLarge(
            f"after routing for {target} the circuit has depth {routed.depth} and {routed.two_qubit_gates} two-qubit "
            f"gates; at most depth {MAX_DEPTH} is run, unless deep circuits are allowed: use a smaller map, or "
            "allow them"
        )
    return routed
