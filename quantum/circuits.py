"""The same layers as Qiskit circuits: for checking limits, drawing and comparison. Only this module needs Qiskit."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter, ParameterExpression, ParameterVector

from quantum.errors import CircuitTooLarge, QuantumError
from quantum.feature_maps import MAX_QUBITS, FeatureMap, RyLayer

MAX_DEPTH = 15
BASIS_GATES = ("ry", "rz", "cx")

Features: TypeAlias = Sequence[float] | NDArray[np.floating[Any]] | Sequence[ParameterExpression] | ParameterVector


@dataclass(frozen=True)
class CircuitSize:
    """What a transpiled circuit takes; counts is (gate name, how many), sorted by name."""

    qubits: int
    depth: int
    counts: tuple[tuple[str, int], ...]


def state_circuit(feature_map: FeatureMap, features: Features) -> QuantumCircuit:
    """U(x) of one register, which prepares |psi_x> from |0...0>.

    features: (features_per_register,) numbers or Qiskit parameters. Raises QuantumError for another length.
    """
    if len(features) != feature_map.features_per_register:
        raise QuantumError(f"one register takes {feature_map.features_per_register} features, got {len(features)}")
    return _prepare(feature_map, [feature_map.bandwidth * feature for feature in features])


def fidelity_circuit(feature_map: FeatureMap, q_features: Features, d_features: Features) -> QuantumCircuit:
    """Compute-uncompute, U(d)^dagger U(q), of one register: the probability of 0...0 is |<psi_d|psi_q>|**2.

    Both: (features_per_register,), as for `state_circuit`; no measurement is added. Havlicek et al. 2019,
    DOI 10.1038/s41586-019-0980-2.
    """
    uncompute = state_circuit(feature_map, d_features).inverse()
    return state_circuit(feature_map, q_features).compose(uncompute)


def symbolic_circuit(feature_map: FeatureMap) -> QuantumCircuit:
    """The map's compute-uncompute circuit for reading: rotations by h q[i] and h d[i], h being the bandwidth."""
    h, k = Parameter("h"), feature_map.features_per_register
    q, d = ([h * feature for feature in ParameterVector(name, k)] for name in "qd")
    return _prepare(feature_map, q).compose(_prepare(feature_map, d).inverse())


def circuit_size(circuit: QuantumCircuit) -> CircuitSize:
    """Qubits, depth and gates in the basis {ry, rz, cx}, neighbouring rotations merged.

    Raises CircuitTooLarge, naming both numbers, above 4 qubits or depth 15.
    """
    compiled = transpile(circuit, basis_gates=list(BASIS_GATES), optimization_level=1)
    qubits, depth = compiled.num_qubits, compiled.depth()
    if qubits > MAX_QUBITS or depth > MAX_DEPTH:
        raise CircuitTooLarge(
            f"the circuit has {qubits} qubits and depth {depth}; "
            f"at most {MAX_QUBITS} qubits and depth {MAX_DEPTH} are allowed: use fewer qubits or layers"
        )
    return CircuitSize(qubits, depth, tuple(sorted(compiled.count_ops().items())))


def check_limits(feature_map: FeatureMap) -> CircuitSize:
    """The size of the map's real compute-uncompute circuit. Raises CircuitTooLarge, see `circuit_size`."""
    # Generic numbers, no two alike: equal or zero angles would cancel gates that real vectors need.
    k = feature_map.features_per_register
    angles = np.sqrt(np.arange(2, 2 * k + 2)) / feature_map.bandwidth
    return circuit_size(fidelity_circuit(feature_map, angles[:k], angles[k:]))


def draw(circuit: QuantumCircuit, output: Literal["text", "svg"] = "text") -> str:
    """The circuit as text, or as an SVG document (the `draw` extra; QuantumError without it)."""
    if output == "text":
        drawing = circuit.draw("text")
        drawing.encoding = "utf-8"  # not what standard output happens to take: the drawing is the same anywhere
        return str(drawing)
    try:
        from matplotlib import pyplot as plt
        from matplotlib import rc_context

        # Fixed identifiers and no date: one circuit gives the same bytes each time.
        with rc_context({"svg.hashsalt": "quantum-rerank"}):
            figure = circuit.draw("mpl")
            svg = StringIO()
            figure.savefig(svg, format="svg", metadata={"Date": None})
            plt.close(figure)
    except ImportError as error:  # Qiskit's own error for a missing pylatexenc is one, too
        raise QuantumError("drawing SVG needs matplotlib: pip install 'quantum-rerank[draw]'") from error
    return svg.getvalue()


def _prepare(feature_map: FeatureMap, angles: Sequence[float | ParameterExpression]) -> QuantumCircuit:
    circuit = QuantumCircuit(feature_map.n_qubits)
    for layer in feature_map.layers:
        if isinstance(layer, RyLayer):
            for qubit, slot in enumerate(layer.slots):
                circuit.ry(angles[slot], qubit)
        else:
            for control, target in layer.pairs:
                circuit.cx(control, target)
    return circuit
