"""Sizes of circuits are counted without Qiskit, and are Qiskit's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit, transpile

from quantum.circuits import fidelity_circuit, state_circuit
from quantum.errors import CircuitTooLarge
from quantum.feature_maps import MAPS, CxLayer, FeatureMap, Layer, Layers, PhaseLayer, RyLayer, TurnLayer, feature_map
from quantum.gates import CircuitSize, check_limits

EVERY_MAP = [(name, n) for name in MAPS for n in (2, 3, 4)]


def features(fm: FeatureMap) -> np.ndarray:
    """Of a query and a document. All differ: equal or zero angles would cancel gates that real vectors need."""
    return np.random.default_rng(7).normal(size=(2, fm.features_per_register))


def compiled(circuit: QuantumCircuit, level: int) -> QuantumCircuit:
    return transpile(circuit, basis_gates=["ry", "rz", "cx"], optimization_level=level, seed_transpiler=1)


def size_of(circuit: QuantumCircuit) -> CircuitSize:
    return CircuitSize(circuit.num_qubits, circuit.depth(), tuple(sorted(circuit.count_ops().items())))


@pytest.mark.parametrize(
    ("name", "n", "depth", "gates"),
    [
        ("angle", 2, 1, (("ry", 2),)),
        ("angle", 3, 1, (("ry", 3),)),
        ("angle", 4, 1, (("ry", 4),)),
        ("entangled", 2, 5, (("cx", 2), ("ry", 6))),
        ("entangled", 3, 7, (("cx", 4), ("ry", 9))),
        ("entangled", 4, 7, (("cx", 6), ("ry", 12))),
        ("amplitude", 2, 5, (("cx", 2), ("ry", 5))),
        ("amplitude", 3, 5, (("cx", 2), ("ry", 6))),
        ("amplitude", 4, 5, (("cx", 4), ("ry", 10))),
        ("iqp", 2, 6, (("cx", 2), ("ry", 4), ("rz", 3))),
        ("iqp", 3, 8, (("cx", 4), ("ry", 6), ("rz", 5))),
        ("iqp", 4, 8, (("cx", 6), ("ry", 8), ("rz", 7))),
    ],
)
def test_size_of_each_map(name: str, n: int, depth: int, gates: tuple[tuple[str, int], ...]) -> None:
    size = check_limits(feature_map(name, n))
    assert (size.qubits, size.depth, size.counts) == (n, depth, gates)


@pytest.mark.parametrize(("name", "n"), EVERY_MAP)
def test_qiskit_counts_the_same(name: str, n: int) -> None:
    fm = feature_map(name, n)
    assert check_limits(fm) == size_of(compiled(fidelity_circuit(fm, *features(fm)), 1))


@pytest.mark.parametrize(("name", "n"), EVERY_MAP)
@pytest.mark.parametrize("level", range(4))
def test_composed_circuits_are_small_even_if_no_gates_are_merged(name: str, n: int, level: int) -> None:
    """Nothing but Qiskit: U(q), then the inverse of U(d), compiled to {ry, rz, cx}."""
    fm = feature_map(name, n)
    q, d = features(fm)
    circuit = compiled(state_circuit(fm, q).compose(state_circuit(fm, d).inverse()), level)
    assert set(circuit.count_ops()) <= {"ry", "rz", "cx"}
    assert circuit.num_qubits <= 4
    assert circuit.depth() <= 14  # one less than the limit; docs/quantum.md says so


LAYERS = st.one_of(
    st.permutations((0, 1, 2)).map(lambda slots: RyLayer(tuple(slots))),
    st.permutations((0, 1, 2)).map(lambda qubits: CxLayer(((qubits[0], qubits[1]),))),
    st.permutations((0, 1, 2)).map(lambda qubits: PhaseLayer(((tuple(qubits[:2]), 0), ((qubits[2],), 1)))),
    st.just(TurnLayer(0.3)),
)


@given(st.lists(LAYERS, max_size=3))
def test_of_any_map_qiskit_merges_as_much_or_more(more: list[Layer]) -> None:
    fm = FeatureMap("any", 3, 1.0, (RyLayer((0, 1, 2)), *more))
    circuit = fidelity_circuit(fm, *features(fm))
    try:
        depth = check_limits(fm).depth
    except CircuitTooLarge as error:
        depth = int(str(error).split("depth ")[1].split(";")[0])
    assert compiled(circuit, 1).depth() <= depth <= compiled(circuit, 0).depth()


@pytest.mark.parametrize(("n", "depth"), [(2, 16), (3, 22), (4, 22)])
def test_two_repetitions_of_the_iqp_map_are_too_deep(n: int, depth: int) -> None:
    """Why `iqp` has one, unlike the map of Havlicek et al. 2019."""
    once = feature_map("iqp", n)
    turn, phases = once.layers
    twice = FeatureMap("twice", n, 1.0, (turn, phases, TurnLayer(-np.pi / 2), phases), once.encoding, n)
    with pytest.raises(CircuitTooLarge, match=f"depth {depth}"):
        check_limits(twice)


@pytest.mark.parametrize("bandwidth", [1e-6, 1.0, np.pi, 100.0])
def test_size_does_not_depend_on_the_bandwidth(bandwidth: float) -> None:
    assert check_limits(feature_map("entangled", 4, bandwidth)).depth == 7


def alternating(n_qubits: int, cx_layers: int) -> FeatureMap:
    """RY, then (CX chain link, RY) repeated: the whole circuit has depth 4 * cx_layers + 1."""
    ry = RyLayer(tuple(range(n_qubits)))
    layers: list[RyLayer | CxLayer] = [ry]
    for _ in range(cx_layers):
        layers += [CxLayer(((0, 1),)), ry]
    return FeatureMap("alternating", n_qubits, 1.0, tuple(layers))


def test_four_qubits_pass_and_five_are_refused() -> None:
    assert check_limits(alternating(4, 1)).qubits == 4
    with pytest.raises(CircuitTooLarge, match=r"5 qubits and depth 5; at most 4 qubits and depth 15"):
        check_limits(alternating(5, 1))


def test_a_map_too_deep_is_refused() -> None:
    assert check_limits(alternating(4, 3)).depth == 13
    with pytest.raises(CircuitTooLarge, match="4 qubits and depth 17"):
        check_limits(alternating(4, 4))


def test_a_map_of_depth_fifteen_passes() -> None:
    layers: Layers = (
        RyLayer((0, 1, 2)),
        *(CxLayer(((0, 1),)), RyLayer((0, 1, 2))) * 2,
        CxLayer(((0, 1),)),
        CxLayer(((1, 2),)),
        RyLayer((0, 1, 2)),
    )
    assert check_limits(FeatureMap("fifteen", 3, 1.0, layers)).depth == 15
