"""Feature maps as Qiskit circuits, for limits, drawings and verification. Only this module imports Qiskit."""

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
    """The size of a transpiled circuit. counts: (gate name, number of gates), sorted by name."""

    qubits: int
    depth: int
    counts: tuple[tuple[str, int], ...]


def state_circuit(feature_map: FeatureMap, features: Features) -> QuantumCircuit:
    """Return the circuit U(x) of one register, which prepares |psi_x> from |0...0>.

    features: (features_per_register,) numbers or Qiskit parameters. Raises QuantumError for another length.
    """
    if len(features) != feature_map.features_per_register:
        raise QuantumError(f"one register needs {feature_map.features_per_register} features, got {len(features)}")
    return _prepare(feature_map, [feature_map.bandwidth * feature for feature in features])


def fidelity_circuit(feature_map: FeatureMap, q_features: Features, d_features: Features) -> QuantumCircuit:
    """Return the compute-uncompute circuit U(d)^dagger U(q) of one register, without a measurement.

    The probability of 0...0 is |<psi_d|psi_q>|**2 (Havlicek et al. 2019, DOI 10.1038/s41586-019-0980-2).

    Args:
        feature_map: The feature map.
        q_features: (features_per_register,) of the query, as for `state_circuit`.
        d_features: (features_per_register,) of the document.
    """
    uncompute = state_circuit(feature_map, d_features).inverse()
    return state_circuit(feature_map, q_features).compose(uncompute)


def symbolic_circuit(feature_map: FeatureMap) -> QuantumCircuit:
    """Return the compute-uncompute circuit with symbolic angles h q[i] and h d[i], h being the bandwidth."""
    h, k = Parameter("h"), feature_map.features_per_register
    q, d = ([h * feature for feature in ParameterVector(name, k)] for name in "qd")
    return _prepare(feature_map, q).compose(_prepare(feature_map, d).inverse())


def circuit_size(circuit: QuantumCircuit) -> CircuitSize:
    """Return qubits, depth and gates in the basis {ry, rz, cx} with neighbouring rotations merged.

    Raises CircuitTooLarge, with both numbers, above 4 qubits or depth 15.
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
    """Return the size of the map's compute-uncompute circuit. Raises CircuitTooLarge, see `circuit_size`."""
    # All angles differ: equal or zero angles would cancel gates that real vectors need.
    k = feature_map.features_per_register
    angles = np.sqrt(np.arange(2, 2 * k + 2)) / feature_map.bandwidth
    return circuit_size(fidelity_circuit(feature_map, angles[:k], angles[k:]))


def draw(circuit: QuantumCircuit, output: Literal["text", "svg"] = "text") -> str:
    """Return the circuit as text, or as an SVG document (needs the `draw` extra, else QuantumError)."""
    if output == "text":
        drawing = circuit.draw("text")
        drawing.encoding = "utf-8"  # independent of the encoding of standard output
        return str(drawing)
    try:
        from matplotlib import pyplot as plt
        from matplotlib import rc_context

        # Fixed identifiers and no date make the output deterministic.
        with rc_context({"svg.hashsalt": "quantum-rerank"}):
            figure = circuit.draw("mpl")
            svg = StringIO()
            figure.savefig(svg, format="svg", metadata={"Date": None})
            plt.close(figure)
    except ImportError as error:  # Qiskit's error for a missing pylatexenc is an ImportError, too
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
