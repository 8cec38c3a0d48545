"""Properties of the fidelity for every map, and of each built-in map."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum import feature_maps
from quantum.errors import CircuitTooLarge, InvalidVector, QuantumError
from quantum.feature_maps import MAPS, CxLayer, FeatureMap, Layers, PhaseLayer, RyLayer, TurnLayer, feature_map
from quantum.kernel import gram
from quantum.simulator import fidelity

EVERY_MAP = [(name, n) for name in MAPS for n in (2, 3, 4)]
NAMES = st.sampled_from(MAPS)
SIZES = st.integers(2, 4)
SEEDS = st.integers(0, 2**32 - 1)
BANDWIDTHS = st.floats(0.1, 6)


def unit_rows(seed: int, m: int, width: int, dtype: type = np.float64) -> np.ndarray:
    """(m, width) unit rows."""
    x = np.random.default_rng(seed).normal(size=(m, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(dtype)


@settings(deadline=None)
@given(NAMES, SIZES, BANDWIDTHS, st.integers(1, 40), SEEDS)
def test_laws_of_a_fidelity(name: str, n: int, bandwidth: float, width: int, seed: int) -> None:
    fm = feature_map(name, n, bandwidth)
    q, d = unit_rows(seed, 3, width), unit_rows(seed + 1, 4, width)
    value = fm.fidelity(q, d)
    assert value.shape == (3, 4)
    assert ((value >= 0) & (value <= 1)).all()
    np.testing.assert_allclose(fm.fidelity(d, q), value.T, atol=1e-13)
    np.testing.assert_allclose(np.diag(fm.fidelity(q, q)), 1, atol=1e-12)
    np.testing.assert_array_equal(value, np.exp(fm.log_fidelity(q, d)))


@settings(deadline=None)
@given(NAMES, SIZES, st.integers(1, 20), SEEDS)
def test_states_have_norm_one_and_a_batch_is_a_loop(name: str, n: int, width: int, seed: int) -> None:
    fm = feature_map(name, n)
    x = unit_rows(seed, 5, width)
    states = fm.register_states(x)
    assert states.shape == (2**n, fm.register_count(width), 5)
    np.testing.assert_allclose(np.sum(np.abs(states) ** 2, axis=0), 1, atol=1e-14)
    for i in range(5):
        np.testing.assert_allclose(states[..., i : i + 1], fm.register_states(x[i : i + 1]), atol=1e-15)


@settings(deadline=None)
@given(NAMES, SIZES, st.integers(1, 20), SEEDS)
def test_fidelity_is_the_product_over_registers(name: str, n: int, width: int, seed: int) -> None:
    fm = feature_map(name, n)
    q, d = unit_rows(seed, 2, width), unit_rows(seed + 1, 3, width)
    left, right = fm.register_states(q), fm.register_states(d)
    expected = np.prod(fidelity(left[..., :, np.newaxis], right[..., np.newaxis, :]), axis=0)
    np.testing.assert_allclose(fm.fidelity(q, d), expected, rtol=1e-10)


@settings(deadline=None)
@given(NAMES, SIZES, st.integers(1, 20), st.integers(1, 20), SEEDS)
def test_zero_padding_changes_nothing(name: str, n: int, width: int, padding: int, seed: int) -> None:
    fm = feature_map(name, n)
    q, d = unit_rows(seed, 2, width), unit_rows(seed + 1, 3, width)
    wide_q, wide_d = (np.pad(x, ((0, 0), (0, padding))) for x in (q, d))
    np.testing.assert_allclose(fm.log_fidelity(wide_q, wide_d), fm.log_fidelity(q, d), atol=1e-12)


@settings(deadline=None)
@given(SIZES, BANDWIDTHS, st.integers(1, 30), SEEDS)
def test_angle_map_has_its_closed_form(n: int, bandwidth: float, width: int, seed: int) -> None:
    q, d = unit_rows(seed, 3, width), unit_rows(seed + 1, 4, width)
    difference = q[:, np.newaxis] - d[np.newaxis]  # (3, 4, width)
    expected = np.prod(np.cos(bandwidth * difference / 2) ** 2, axis=2)
    np.testing.assert_allclose(feature_map("angle", n, bandwidth).fidelity(q, d), expected, atol=1e-13)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_entangled_map_differs_from_the_product_of_its_features(n: int) -> None:
    q, d = unit_rows(0, 3, 2 * n), unit_rows(1, 3, 2 * n)
    assert np.abs(feature_map("entangled", n).fidelity(q, d) - feature_map("angle", n).fidelity(q, d)).max() > 1e-3


@pytest.mark.parametrize("n", [2, 3, 4])
def test_entangled_map_at_small_bandwidth_is_the_distance_with_one_cross_term(n: int) -> None:
    """The last qubit is only a CX target: near |0...0> its two rotations add up, and all others stay separate."""
    x = np.random.default_rng(n).normal(size=(12, 2 * n))
    delta = x[:6] - x[6:]
    expected = np.sum(delta**2, axis=1) + 2 * delta[:, n - 1] * delta[:, 2 * n - 1]
    h = 1e-3
    log_f = np.diag(feature_map("entangled", n, h).log_fidelity(x[:6], x[6:]))
    np.testing.assert_allclose(-4 * log_f / h**2, expected, rtol=5e-3)


@pytest.mark.parametrize(("name", "n"), EVERY_MAP)
def test_shape_of_each_map(name: str, n: int) -> None:
    fm = feature_map(name, n)
    assert (fm.name, fm.n_qubits, fm.bandwidth) == (name, n, 8**0.5)
    expected = {"angle": n, "entangled": 2 * n, "amplitude": 3 * (n // 2) + n % 2, "iqp": n}
    assert fm.features_per_register == expected[name]
    assert fm.register_count(384) == -(-384 // fm.features_per_register)


@pytest.mark.parametrize(
    ("layers", "product"),
    [
        (feature_map("angle", 2).layers, True),
        ((RyLayer((1, 0)),), True),  # features may have any order
        ((RyLayer((0, 0)),), False),  # one feature is used twice
        ((RyLayer((0, 2)),), False),  # one feature is not used
        ((RyLayer((0, 1)), RyLayer((0, 1))), False),
        (feature_map("entangled", 2).layers, False),
    ],
)
def test_a_product_turns_one_qubit_per_feature_and_no_more(layers: Layers, product: bool) -> None:
    assert FeatureMap("any", 2, 1.0, layers).is_product is product


@pytest.mark.parametrize(("features", "product"), [(None, True), (2, True), (3, False)])
def test_a_product_has_a_feature_for_each_qubit(features: int | None, product: bool) -> None:
    fm = FeatureMap("any", 2, 1.0, feature_map("angle", 2).layers, features=features)
    assert fm.is_product is product
    x = unit_rows(1, 4, 6)
    np.testing.assert_allclose(gram(fm, x), fm.fidelity(x, x), atol=1e-5)


def test_layers_of_the_entangled_map() -> None:
    assert feature_map("entangled", 4).layers == (
        RyLayer((0, 1, 2, 3)),
        CxLayer(((0, 1), (2, 3))),
        CxLayer(((1, 2),)),
        RyLayer((4, 5, 6, 7)),
    )


def test_small_angles_follow_the_gaussian_of_the_cosine() -> None:
    """Log F = -h**2 (1 - cos)/2 + O(h**4 sum (q - d)**4): close to the first term, and never above it."""
    q, d = unit_rows(2, 20, 384), unit_rows(3, 20, 384)
    gaussian = -(1 - q @ d.T) / 2
    error = []
    for bandwidth in (8**0.5, 1.0, 0.25):
        scaled = feature_map("angle", 4, bandwidth).log_fidelity(q, d) / bandwidth**2
        assert (scaled <= gaussian + 1e-12).all()
        error.append(np.abs(scaled - gaussian).max())
    # The remainder divided by h**2 falls like h**2.
    assert error[0] < 0.02
    np.testing.assert_allclose(error[1] / error[2], 16, rtol=0.02)


def test_fidelity_falls_with_the_bandwidth_and_small_bandwidths_rank_like_cosine() -> None:
    q, d = unit_rows(4, 1, 384), unit_rows(5, 50, 384)
    logs = [feature_map("angle", 4, h).log_fidelity(q, d)[0] for h in (0.1, 1.0, 2.0, 3.0)]
    assert (np.diff(logs, axis=0) < 0).all()
    np.testing.assert_array_equal(np.argsort(logs[0]), np.argsort((q @ d.T)[0]))


def test_blocks_of_columns_give_what_one_block_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    fm = feature_map("entangled", 3)
    q, d = unit_rows(6, 3, 20), unit_rows(7, 11, 20)
    whole = fm.log_fidelity(q, d)
    monkeypatch.setattr(feature_maps, "_BLOCK", 4)
    np.testing.assert_allclose(fm.log_fidelity(q, d), whole, atol=1e-13)


@pytest.mark.parametrize("name", ["angle", "entangled"])
def test_float32_stays_float32_and_close(name: str) -> None:
    fm = feature_map(name)
    q, d = unit_rows(8, 5, 384, np.float32), unit_rows(9, 30, 384, np.float32)
    narrow = fm.log_fidelity(q, d)
    assert narrow.dtype == fm.register_states(q).dtype == np.float32
    assert fm.log_fidelity(q, d.astype(np.float64)).dtype == np.float64
    exact = fm.log_fidelity(q.astype(np.float64), d.astype(np.float64))
    np.testing.assert_allclose(narrow, exact, atol=5e-5)


def test_narrower_rows_are_computed_in_float32() -> None:
    int8 = np.array([[3, -4, 0]], dtype=np.int8)
    assert feature_map().log_fidelity(int8, int8.astype(np.float16)).dtype == np.float32


def test_features_half_a_turn_apart_are_orthogonal_and_finite() -> None:
    log_f = feature_map("angle", 2, np.pi).log_fidelity(np.array([[1.0, 0.0]]), np.array([[2.0, 0.0]]))
    assert np.isfinite(log_f).all()
    assert log_f[0, 0] < -70


def test_no_rows_give_no_scores() -> None:
    assert feature_map().log_fidelity(unit_rows(0, 2, 8), np.empty((0, 8))).shape == (2, 0)
    assert feature_map().log_fidelity(np.empty((0, 8)), unit_rows(0, 2, 8)).shape == (0, 2)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -np.inf])
def test_rows_without_a_state_are_refused_and_named(value: float) -> None:
    good, bad = unit_rows(0, 3, 8), unit_rows(0, 3, 8)
    bad[1, 3:] = value
    bad[1, :3] = 0.0
    for q, d in ((good, bad), (bad, good)):
        with pytest.raises(InvalidVector, match="row 1 is zero or not finite"):
            feature_map().log_fidelity(q, d)
    with pytest.raises(InvalidVector, match="row 1"):
        feature_map().register_states(bad)


@pytest.mark.parametrize(("name", "huge"), [("angle", 1e308), ("entangled", -1e308), ("iqp", 1e160)])
def test_rows_without_finite_angles_are_refused(name: str, huge: float) -> None:
    good, bad = unit_rows(0, 3, 8), unit_rows(0, 3, 8)
    bad[1, :2] = huge
    for q, d in ((good, bad), (bad, good)):
        for call in (feature_map(name).fidelity, feature_map(name).register_fidelities):
            with pytest.raises(InvalidVector, match="a row is too large"):
                call(q, d)
    with pytest.raises(InvalidVector, match="a row is too large"):
        feature_map(name).angles(bad)
    with pytest.raises(InvalidVector, match="a row is too large"):
        gram(feature_map(name), bad)


@pytest.mark.parametrize("x", [np.ones(4), np.ones((2, 0)), np.ones((2, 2), complex), np.array([["a", "b"]])])
def test_only_rows_of_real_numbers_are_accepted(x: np.ndarray) -> None:
    with pytest.raises(InvalidVector, match="expected rows"):
        feature_map().register_states(x)


def test_widths_must_agree() -> None:
    with pytest.raises(InvalidVector, match="got 8 and 9"):
        feature_map().log_fidelity(unit_rows(0, 2, 8), unit_rows(0, 2, 9))


def test_unknown_names_and_sizes_are_refused() -> None:
    with pytest.raises(QuantumError, match="unknown feature map 'zz'; known: amplitude, angle"):
        feature_map("zz")
    with pytest.raises(CircuitTooLarge, match="5 qubits per register; use at most 4"):
        feature_map("angle", 5)
    with pytest.raises(QuantumError, match="use 2, 3 or 4"):
        feature_map("angle", 1)


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, np.nan, np.inf])
def test_bandwidth_must_be_positive_and_finite(bandwidth: float) -> None:
    with pytest.raises(QuantumError, match="bandwidth"):
        feature_map(bandwidth=bandwidth)


def test_descriptions_without_a_state_are_refused() -> None:
    with pytest.raises(QuantumError, match="must start with an RY layer"):
        FeatureMap("odd", 2, 1.0, (CxLayer(((0, 1),)), RyLayer((0, 1))))
    with pytest.raises(QuantumError, match="must start with an RY layer"):
        FeatureMap("none", 2, 1.0, ())
    with pytest.raises(QuantumError, match="one slot for each of its 3 qubits"):
        FeatureMap("short", 3, 1.0, (RyLayer((0, 1)),))
    with pytest.raises(QuantumError, match="encodes no feature"):
        FeatureMap("fixed", 2, 1.0, (TurnLayer(0.3), CxLayer(((0, 1),))))


@pytest.mark.parametrize("qubits", [(), (0, 1, 2), (1, 1)])
def test_phases_are_of_one_qubit_or_two(qubits: tuple[int, ...]) -> None:
    """Of others, circuits would have other gates than the simulation."""
    with pytest.raises(QuantumError, match="one qubit or two different ones"):
        FeatureMap("odd", 3, 1.0, (TurnLayer(0.3), PhaseLayer(((qubits, 0),))))


def test_a_feature_may_be_loaded_twice() -> None:
    again = FeatureMap("reupload", 2, 1.0, (RyLayer((0, 1)), RyLayer((1, 0))))
    assert again.features_per_register == 2
    # Without a CX in between, both layers add up: each qubit rotates by x0 + x1.
    x = np.array([[0.3, 0.4]])
    merged = FeatureMap("merged", 2, 1.0, (RyLayer((0, 1)),))
    np.testing.assert_allclose(again.register_states(x), merged.register_states(np.array([[0.7, 0.7]])), atol=1e-15)


@pytest.mark.parametrize(("name", "least", "most"), [("angle", 0.999, 1), ("entangled", 0.8, 0.9)])
def test_how_closely_unrelated_vectors_follow_the_cosine(name: str, least: float, most: float) -> None:
    """The figures in docs/quantum.md for both maps at the default bandwidth."""
    x = np.random.default_rng(7).normal(size=(200, 384))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    log_f = feature_map(name).log_fidelity(x[:1], x[1:])[0]
    assert least < np.corrcoef(log_f, x[1:] @ x[0])[0, 1] < most
