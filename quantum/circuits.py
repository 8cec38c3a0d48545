"""Feature maps as Qiskit circuits, for drawings, verification and devices."""

from collections.abc import Callable, Sequence
from io import BytesIO, StringIO
from typing import Any, Literal, TypeAlias
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit, qasm3, qpy
from qiskit.circuit import Parameter, ParameterExpression, ParameterVector

from quantum.errors import QuantumError
from quantum.feature_maps import FeatureMap
from quantum.gates import Gate, compute_uncompute, gates_of

Features: TypeAlias = Sequence[float] | NDArray[np.floating[Any]] | Sequence[ParameterExpression] | ParameterVector
Angle: TypeAlias = Any  # radians, or a ParameterExpression


def bound_angles(feature_map: FeatureMap, query: NDArray[Any], document: NDArray[Any]) -> NDArray[np.float64]:
    """Return the parameters' values of `bulk_circuit` for pairs of registers.

    query, document: (slots, ...) angles from `FeatureMap.angles`, broadcast against each other. Returns
    (parameters, ...) radians.
    """
    gates = [gate for gate in compute_uncompute(feature_map) if not gate.is_bound]
    query, document = np.broadcast_arrays(query, document)
    return np.stack([_angle(gate, query, document) for gate in gates]).astype(np.float64)


def _angle(gate: Gate, query: Any, document: Any) -> Angle:
    if gate.q_slot is None:
        return -document[gate.d_slot]
    return query[gate.q_slot] if gate.d_slot is None else query[gate.q_slot] - document[gate.d_slot]


def bulk_circuit(feature_map: FeatureMap) -> QuantumCircuit:
    """Return U(d)^dagger U(q) with one plain parameter for each rotation, in the order of `bound_angles`.

    They are named a00, a01, …, so that sorting by name, as Qiskit does, keeps the order, and OpenQASM the names. One
    circuit thus serves all pairs of registers: a backend gets it once, with an array of values.
    """
    gates = compute_uncompute(feature_map)
    parameters = map(Parameter, _parameter_names(gates))
    return _build(gates, feature_map.n_qubits, lambda _: next(parameters))


def parameter_meanings(feature_map: FeatureMap) -> list[tuple[str, str]]:
    """Return each parameter of `bulk_circuit` with the angles that it stands for: ("a00", "q[0] - d[0]")."""
    gates, found = compute_uncompute(feature_map), list[str]()
    for gate in gates:
        if not gate.is_bound:
            minus = "" if gate.d_slot is None else f"-d[{gate.d_slot}]"
            text = f"q[{gate.q_slot}] - d[{gate.d_slot}]" if minus and gate.q_slot is not None else minus
            found.append(text or f"q[{gate.q_slot}]")
    return list(zip(_parameter_names(gates), found, strict=True))


def _parameter_names(gates: Sequence[Gate]) -> list[str]:
    count = sum(not gate.is_bound for gate in gates)
    digits = max(2, len(str(count - 1)))
    return [f"a{at:0{digits}}" for at in range(count)]


def as_qpy(circuit: QuantumCircuit) -> bytes:
    """Return a circuit in Qiskit's binary format."""
    file = BytesIO()
    qpy.dump(circuit, file)
    return file.getvalue()


def as_qasm3(circuit: QuantumCircuit) -> bytes:
    """Return a circuit as OpenQASM 3, in UTF-8; its parameters are inputs."""
    return str(qasm3.dumps(circuit)).encode()


def state_circuit(feature_map: FeatureMap, features: Features) -> QuantumCircuit:
    """Return the circuit U(x) of one register, which prepares |psi_x> from |0...0>.

    features: (features_per_register,) numbers or, of other maps than `amplitude`, Qiskit parameters. Raises
    QuantumError for another length.
    """
    angles = _angles(feature_map, features, feature_map.bandwidth)
    gates = [gate for layer in feature_map.layers for gate in gates_of(layer, feature_map.n_qubits, 1, 0)]
    return _build(gates, feature_map.n_qubits, lambda gate: angles[gate.q_slot])


def fidelity_circuit(feature_map: FeatureMap, q_features: Features, d_features: Features) -> QuantumCircuit:
    """Return the compute-uncompute circuit U(d)^dagger U(q) of one register, without a measurement.

    The probability of 0...0 is |<psi_d|psi_q>|**2 (Havlicek et al. 2019, DOI 10.1038/s41586-019-0980-2). Gates are
    merged as `compute_uncompute` says.

    Args:
        feature_map: The feature map.
        q_features: (features_per_register,) of the query, as for `state_circuit`.
        d_features: (features_per_register,) of the document.
    """
    query, document = (_angles(feature_map, each, feature_map.bandwidth) for each in (q_features, d_features))
    gates = compute_uncompute(feature_map)
    return _build(gates, feature_map.n_qubits, lambda gate: _angle(gate, query, document))


def symbolic_circuit(feature_map: FeatureMap) -> QuantumCircuit:
    """Return the compute-uncompute circuit with symbolic features q[i] and d[i], h being the bandwidth.

    The angles of `amplitude` are no polynomials of the features: there q[i] and d[i] are the angles themselves.
    """
    h, k = _symbol("h"), feature_map.features_per_register
    gates = compute_uncompute(feature_map)
    try:
        query, document = (_angles(feature_map, _symbols(name, k), h) for name in "qd")
    except QuantumError:
        query, document = (_symbols(name, feature_map.slots) for name in "qd")
    return _build(gates, feature_map.n_qubits, lambda gate: _angle(gate, query, document))


def _symbols(name: str, count: int) -> list[Parameter]:
    return [_symbol(f"{name}[{at}]") for at in range(count)]


def _symbol(name: str) -> Parameter:
    """A parameter of a fixed id: Qiskit draws ids by chance and orders the terms of sums by them."""
    return Parameter(name, uuid=UUID(bytes=name.encode().rjust(16, b"\0")))


def _angles(feature_map: FeatureMap, features: Features, bandwidth: Any) -> Any:
    """The (slots,) angles of one register."""
    if len(features) != feature_map.features_per_register:
        raise QuantumError(f"one register needs {feature_map.features_per_register} features, got {len(features)}")
    try:
        return feature_map.encoding(np.asarray(list(features)), bandwidth)
    except (AttributeError, TypeError) as error:  # of a function that Qiskit's parameters do not have
        raise QuantumError(f"the angles of {feature_map.name!r} need numbers, and not Qiskit's parameters") from error


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


def _build(gates: Sequence[Gate], n_qubits: int, angle: Callable[[Gate], Angle]) -> QuantumCircuit:
    """A circuit of gates. angle: of those that registers decide about."""
    circuit = QuantumCircuit(n_qubits)
    for gate in gates:
        angles = () if gate.name == "cx" else (gate.constant if gate.is_bound else angle(gate),)
        getattr(circuit, gate.name)(*angles, *gate.qubits)
    return circuit
