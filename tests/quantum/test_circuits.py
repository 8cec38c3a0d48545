"""The circuits; Qiskit and Aer must agree with the NumPy simulation."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import Statevector
from qiskit_aer import AerSimulator

from quantum.circuits import (
    as_qasm3,
    bound_angles,
    bulk_circuit,
    draw,
    fidelity_circuit,
    parameter_meanings,
    state_circuit,
    symbolic_circuit,
)
from quantum.errors import QuantumError
from quantum.feature_maps import MAPS, CxLayer, FeatureMap, Layer, Layers, PhaseLayer, RyLayer, TurnLayer, feature_map
from quantum.gates import check_limits
from quantum.simulator import log_register_fidelity
from tests.paths import ROOT

EVERY_MAP = [(name, n) for name in MAPS for n in (2, 3, 4)]


def rows(seed: int, m: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(m, width))


def registers_of(fm: FeatureMap, x: np.ndarray) -> np.ndarray:
    """Reshape one row (D,) to zero-padded (R, features per register)."""
    k = fm.features_per_register
    return np.pad(x, (0, fm.register_count(x.size) * k - x.size)).reshape(-1, k)


@pytest.mark.parametrize(("name", "n"), EVERY_MAP)
def test_states_agree_with_qiskit(name: str, n: int) -> None:
    fm = feature_map(name, n)
    x = rows(n, 4, 5 * n + 1)
    states = fm.register_states(x)
    for row in range(x.shape[0]):
        for register, features in enumerate(registers_of(fm, x[row])):
            expected = Statevector(state_circuit(fm, features)).data
            np.testing.assert_allclose(states[:, register, row], expected, atol=1e-14)


@pytest.mark.parametrize(("name", "n"), EVERY_MAP)
@pytest.mark.parametrize("bandwidth", [0.5, 8**0.5])
def test_fidelities_agree_with_aer(name: str, n: int, bandwidth: float) -> None:
    """P(0...0) of the compute-uncompute circuits, multiplied over registers, for every pair."""
    fm = feature_map(name, n, bandwidth)
    q, d = rows(10 + n, 3, 3 * n + 1), rows(20 + n, 4, 3 * n + 1)
    circuits = []
    for a in q:
        for b in d:
            for left, right in zip(registers_of(fm, a), registers_of(fm, b), strict=True):
                circuit = fidelity_circuit(fm, left, right)
                circuit.save_statevector()
                circuits.append(circuit)
    result = AerSimulator(method="statevector").run(circuits).result()
    zeros = [abs(result.get_statevector(i).data[0]) ** 2 for i in range(len(circuits))]
    expected = np.prod(np.reshape(zeros, (3, 4, -1)), axis=2)
    np.testing.assert_allclose(fm.fidelity(q, d), expected, atol=1e-9)
    np.testing.assert_allclose(fm.fidelity(q, d), expected, rtol=1e-9)


def test_a_map_made_of_other_layers_agrees_with_qiskit() -> None:
    """Simulation and circuit agree on layers that no built-in map has: re-uploading, CX in both directions."""
    layers: Layers = (
        RyLayer((2, 0, 1)),
        CxLayer(((2, 0), (0, 1))),
        PhaseLayer((((1,), 3), ((2, 0), 1))),
        RyLayer((0, None, 3)),
        TurnLayer(0.3),
        CxLayer(((1, 2),)),
    )
    fm = FeatureMap("other", 3, 1.7, layers)
    x = rows(3, 6, 4)
    states = fm.register_states(x)[:, 0]
    for i in range(6):
        np.testing.assert_allclose(states[:, i], Statevector(state_circuit(fm, x[i])).data, atol=1e-14)


def test_complex_states_contract_like_qiskit() -> None:
    """The contraction conjugates the left side."""
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(2, 4, 3, 2)) for _ in range(2))
    left, right = (x[0] + 1j * x[1] for x in (a, b))  # (4, R=3, 2)
    left, right = left / np.linalg.norm(left, axis=0), right / np.linalg.norm(right, axis=0)
    log_f = log_register_fidelity(left, right)
    for i in range(2):
        for j in range(2):
            parts = [abs(Statevector(left[:, r, i]).inner(Statevector(right[:, r, j]))) ** 2 for r in range(3)]
            np.testing.assert_allclose(np.exp(log_f[i, j]), np.prod(parts), rtol=1e-12)


def test_parameters_stand_in_for_features() -> None:
    fm = feature_map("entangled", 2)
    circuit = state_circuit(fm, ParameterVector("x", 4))
    assert circuit.num_parameters == 4
    x = rows(4, 1, 4)
    bound = Statevector(circuit.assign_parameters(x[0])).data
    np.testing.assert_allclose(fm.register_states(x)[:, 0, 0], bound, atol=1e-14)


@pytest.mark.parametrize(("name", "n"), EVERY_MAP)
def test_symbolic_circuit_becomes_the_fidelity_circuit(name: str, n: int) -> None:
    fm = feature_map(name, n, 0.7)
    q, d = rows(5, 2, fm.features_per_register)
    symbols = symbolic_circuit(fm)
    left, right = (fm.angles(x[np.newaxis])[:, 0, 0] if name == "amplitude" else x for x in (q, d))
    values = {f"{side}[{i}]": value for side, x in (("q", left), ("d", right)) for i, value in enumerate(x)}
    bound = symbols.assign_parameters(values | ({"h": 0.7} if name != "amplitude" else {}))
    np.testing.assert_allclose(Statevector(bound).data, Statevector(fidelity_circuit(fm, q, d)).data, atol=1e-14)
    text = draw(symbols)
    assert all(f"{side}[{i}]" in text for side, x in (("q", left), ("d", right)) for i in range(len(x)))


@pytest.mark.parametrize(("name", "n"), EVERY_MAP)
def test_merging_changes_no_state(name: str, n: int) -> None:
    """The merged circuit, and the one for all pairs, prepare what U(q) and then U(d)^dagger prepare."""
    fm = feature_map(name, n, 1.3)
    q, d = rows(6, 2, fm.features_per_register)
    plain = Statevector(state_circuit(fm, q).compose(state_circuit(fm, d).inverse())).data
    np.testing.assert_allclose(Statevector(fidelity_circuit(fm, q, d)).data, plain, atol=1e-14)
    bulk = bulk_circuit(fm)
    angles = bound_angles(fm, *(fm.angles(x[np.newaxis])[:, 0, 0] for x in (q, d)))
    assert [str(parameter) for parameter in bulk.parameters] == [at for at, _ in parameter_meanings(fm)]
    np.testing.assert_allclose(Statevector(bulk.assign_parameters(angles)).data, plain, atol=1e-14)


def any_layers(n: int) -> st.SearchStrategy[list[Layer]]:
    """Layers that follow the first one, some of which leave qubits alone."""
    slots, orders = st.sampled_from([None, 0, 1, 2, 3]), st.permutations(range(n))
    return st.lists(
        st.one_of(
            st.tuples(*[slots] * n).map(RyLayer),
            orders.map(lambda qubits: CxLayer((tuple(qubits[:2]),))),
            orders.map(lambda qubits: PhaseLayer(((tuple(qubits[:2]), 0), ((qubits[2],), 1)))),
            st.just(TurnLayer(0.3)),
        ),
        max_size=4,
    )


@settings(deadline=None, max_examples=50)
@given(any_layers(3))
def test_merging_changes_no_state_of_any_map(more: list[Layer]) -> None:
    fm = FeatureMap("any", 3, 1.0, (RyLayer((0, 1, 2)), *more))
    q, d = rows(8, 2, fm.features_per_register)
    plain = Statevector(state_circuit(fm, q).compose(state_circuit(fm, d).inverse())).data
    np.testing.assert_allclose(Statevector(fidelity_circuit(fm, q, d)).data, plain, atol=1e-14)


@pytest.mark.parametrize(("name", "n"), EVERY_MAP)
def test_the_drawn_circuit_has_the_gates_that_are_counted(name: str, n: int) -> None:
    for circuit in (symbolic_circuit(feature_map(name, n)), bulk_circuit(feature_map(name, n))):
        assert tuple(sorted(circuit.count_ops().items())) == check_limits(feature_map(name, n)).counts


def test_a_drawing_is_the_same_each_time_and_the_one_of_the_page() -> None:
    angles = {str(symbolic_circuit(feature_map("entangled")).data[7].operation.params[0]) for _ in range(12)}
    assert angles == {"h*q[4] - d[4]*h"}
    assert "Ry(h*q[4] - d[4]*h)" in (ROOT / "docs" / "quantum.md").read_text(encoding="utf-8")


def test_what_each_parameter_stands_for() -> None:
    assert parameter_meanings(feature_map("amplitude", 2)) == [
        ("a00", "q[0]"),
        ("a01", "q[1]"),
        ("a02", "q[2] - d[2]"),
        ("a03", "-d[1]"),
        ("a04", "-d[0]"),
    ]


MANY = FeatureMap("many", 2, 1.0, (RyLayer((0, 1)), *(CxLayer(((0, 1),)), RyLayer((0, 1))) * 30))


@pytest.mark.parametrize(
    "fm", [*(feature_map(*each) for each in EVERY_MAP), MANY], ids=lambda fm: f"{fm.name}-{fm.n_qubits}"
)
def test_openqasm_has_the_parameters_by_their_names_and_in_their_order(fm: FeatureMap) -> None:
    """So values can be bound by position, too: Qiskit sorts a[10], which OpenQASM cannot name, before a[1]."""
    lines = as_qasm3(bulk_circuit(fm)).decode().splitlines()
    inputs = [line.removeprefix("input float[64] ").removesuffix(";") for line in lines if line.startswith("input")]
    assert inputs == sorted(inputs) == [at for at, _ in parameter_meanings(fm)]


def test_amplitude_needs_numbers() -> None:
    with pytest.raises(QuantumError, match="need numbers"):
        state_circuit(feature_map("amplitude", 2), ParameterVector("x", 3))


@pytest.mark.parametrize("count", [0, 3, 5])
def test_a_register_takes_its_number_of_features(count: int) -> None:
    with pytest.raises(QuantumError, match=f"needs 4 features, got {count}"):
        state_circuit(feature_map("angle", 4), np.ones(count))


def test_text_drawing_shows_every_gate() -> None:
    text = draw(state_circuit(feature_map("entangled", 2), np.arange(1, 5) / 8))
    assert text.count("Ry(") == 4
    assert "■" in text


def test_svg_drawing_is_a_document_and_repeatable() -> None:
    circuit = state_circuit(feature_map("angle", 2), np.ones(2))
    svg = draw(circuit, "svg")
    assert svg.startswith("<?xml")
    assert svg.rstrip().endswith("</svg>")
    assert draw(circuit, "svg") == svg


@pytest.mark.parametrize("missing", ["matplotlib", "pylatexenc"])
def test_svg_without_the_extra_says_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    circuit = state_circuit(feature_map("angle", 2), np.ones(2))
    with pytest.raises(QuantumError, match=r"pip install 'quantum-rerank\[draw\]'"):
        draw(circuit, "svg")
