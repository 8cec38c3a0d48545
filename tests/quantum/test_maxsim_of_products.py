"""The pruned closed form of product states returns the exact maximum for all documents."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum import maxsim as module
from quantum.feature_maps import feature_map
from quantum.maxsim import QueryTokens, best_log_fidelity, log_fidelity_of_pairs

H = 8**0.5
SEEDS = st.integers(0, 2**32 - 1)
LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=8)


def offsets_of(lengths: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def best_of(bandwidth: float, q: np.ndarray, d: np.ndarray, offsets: np.ndarray) -> np.ndarray | None:
    return best_log_fidelity(bandwidth, QueryTokens.of(q, np.result_type(q, np.float32)), [d], offsets)


def unit(x: np.ndarray, dtype: type = np.float32) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(dtype)


def tokens_of_a_model(seed: int, m: int, width: int = 384, dtype: type = np.float32) -> np.ndarray:
    """(m, width) unit rows like those of a model: a common part, topics, noise, and four features of double spread."""
    model, rng = np.random.default_rng(width), np.random.default_rng(seed)
    scale = np.exp(model.normal(0, 0.2, width))
    scale[model.integers(0, width, 4)] *= 2
    common, topics = 0.4 * model.normal(size=width), model.normal(size=(10, width)) / 10**0.5
    return unit((common + rng.normal(size=(m, 10)) @ topics + rng.normal(size=(m, width))) * scale, dtype)


def closed_form(bandwidth: float, q: np.ndarray, d: np.ndarray) -> np.ndarray:
    """(a, t) log fidelities in float64, feature by feature."""
    half = bandwidth / 2 * (q[:, np.newaxis].astype(np.float64) - d[np.newaxis])
    return np.log(np.cos(half) ** 2).sum(axis=2)


def expected(bandwidth: float, q: np.ndarray, d: np.ndarray, lengths: list[int]) -> np.ndarray:
    return np.maximum.reduceat(closed_form(bandwidth, q, d), offsets_of(lengths)[:-1], axis=1)


def count_pairs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Records the number of pairs in each call of the closed form."""
    counts: list[int] = []

    def counted(angles: np.ndarray, i: np.ndarray, *rest: np.ndarray) -> np.ndarray:
        counts.append(i.size)
        return log_fidelity_of_pairs(angles, i, *rest)

    monkeypatch.setattr(module, "log_fidelity_of_pairs", counted)
    return counts


@given(st.floats(-np.pi / 2, np.pi / 2))
def test_the_bound_on_one_feature(x: float) -> None:
    assert np.cos(x) ** 2 <= np.exp(-(x**2)) * (1 + 1e-15)


@given(st.floats(0.1, 6), st.integers(2, 400), SEEDS)
def test_the_bound_on_all_features(bandwidth: float, width: int, seed: int) -> None:
    q, d = tokens_of_a_model(seed, 3, width, np.float64), tokens_of_a_model(seed + 1, 5, width, np.float64)
    if bandwidth * (np.abs(q).max() + np.abs(d).max()) <= np.pi:
        assert (closed_form(bandwidth, q, d) <= -(bandwidth**2) * (1 - q @ d.T) / 2 + 1e-12).all()


@given(st.floats(0.05, 6), st.integers(1, 6), LENGTHS, st.integers(1, 400), st.floats(0, 2), SEEDS)
def test_the_best_is_the_best_of_all(
    bandwidth: float, a: int, lengths: list[int], width: int, spread: float, seed: int
) -> None:
    """From documents of one repeated token (spread 0) to unrelated tokens."""
    rng = np.random.default_rng(seed)
    q = tokens_of_a_model(seed, a, width)
    scatter = rng.normal(size=(sum(lengths), width)) * spread / width**0.5
    d = unit(q[rng.integers(a, size=len(lengths))].repeat(lengths, axis=0) + scatter + 1e-3)
    best = best_of(bandwidth, q, d, offsets_of(lengths))
    if best is not None:
        assert best.dtype == np.float32
        assert (best <= 0).all()
        np.testing.assert_allclose(best, expected(bandwidth, q, d, lengths), atol=1e-4)


@given(SEEDS, st.sampled_from([1.0, H, 12**0.5]))
def test_tokens_of_a_model_take_the_closed_form_and_keep_its_precision(seed: int, bandwidth: float) -> None:
    lengths = [1, 30, 7, 60]
    q, d = tokens_of_a_model(seed, 6), tokens_of_a_model(seed + 1, sum(lengths))
    narrow = best_of(bandwidth, q, d, offsets_of(lengths))
    wide = best_of(bandwidth, q.astype(np.float64), d.astype(np.float64), offsets_of(lengths))
    assert narrow is not None
    assert wide is not None
    np.testing.assert_allclose(narrow, expected(bandwidth, q, d, lengths), atol=2e-5)
    np.testing.assert_allclose(wide, expected(bandwidth, q, d, lengths), atol=1e-12)


@pytest.mark.parametrize("a", [1, 20, 300])
def test_the_closed_form_is_the_simulation(a: int) -> None:
    lengths = [40, 90, 3]
    q, d = tokens_of_a_model(1, a), tokens_of_a_model(2, sum(lengths))
    best = best_of(H, q, d, offsets_of(lengths))
    assert best is not None
    simulated = np.maximum.reduceat(feature_map().log_fidelity(q, d), offsets_of(lengths)[:-1], axis=1)
    np.testing.assert_allclose(np.exp(best), np.exp(simulated), rtol=1e-4)


def test_few_tokens_of_a_passage_need_the_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = count_pairs(monkeypatch)
    lengths = [140] * 10
    q, d = tokens_of_a_model(3, 20), tokens_of_a_model(4, 1400)
    assert best_of(H, q, d, offsets_of(lengths)) is not None
    nearest, rivals = counts
    assert nearest == 20 * 10
    assert rivals < 20 * 10


def test_a_rival_beyond_the_nearest_token_is_found() -> None:
    """A difference in one feature lowers the fidelity more than a slightly larger one spread over many."""
    q, one, many = np.zeros((3, 65))
    q[1:], one[0], many[1:] = 1 / 8, 1, np.tile([1, -1], 32) / 8  # orthonormal
    q, d = q[np.newaxis], np.array([np.cos(1) * q + np.sin(1) * one, np.cos(1.02) * q + np.sin(1.02) * many])
    log_f = closed_form(2.4, q, d)[0]
    assert ((q @ d.T)[0].argmax(), log_f.argmax()) == (0, 1)
    best = best_of(2.4, q, d, np.array([0, 2]))
    assert best is not None
    np.testing.assert_allclose(best, [[log_f.max()]], atol=1e-12)


def test_repeated_tokens_are_left_to_the_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = count_pairs(monkeypatch)
    q, d = tokens_of_a_model(5, 20), np.repeat(tokens_of_a_model(6, 1), 500, axis=0)
    assert best_of(H, q, d, np.array([0, 500])) is None
    assert sum(counts) <= 20  # stopped before the expensive part


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_pairs_go_through_in_blocks(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    q, d = tokens_of_a_model(7, 3), tokens_of_a_model(8, 4)
    i, j = np.divmod(np.arange(12), 4)
    monkeypatch.setattr(module, "_PAIRS_AT_ONCE", at_once)
    values = log_fidelity_of_pairs(q * (H / 2), i, d[j], np.full(12, H / 2, np.float32)).reshape(3, 4)
    np.testing.assert_allclose(values, closed_form(H, q, d), atol=2e-5)


@pytest.mark.parametrize(
    ("bandwidth", "closed"), [(1.4999, True), (1.5001, False), (np.pi / 2 - 1e-6, False), (2, False)]
)
def test_wide_angles_are_left_to_the_simulation(bandwidth: float, closed: bool) -> None:
    """Opposite tokens along one feature: an angle of 2 h, which the closed form accepts up to 3."""
    q, d = np.array([[1.0, 0.0]]), np.array([[-1.0, 0.0], [0.0, 1.0]])
    best = best_of(bandwidth, q, d, np.arange(3))
    assert (best is not None) == closed
    if best is not None:
        np.testing.assert_allclose(best, closed_form(bandwidth, q, d), rtol=1e-12)


def test_a_feature_large_in_every_token_is_no_wide_angle() -> None:
    q, d = (unit(np.c_[np.full(m, 6.0), np.random.default_rng(m).normal(size=(m, 20))], np.float64) for m in (2, 5))
    assert 2 * H / 2 * np.abs(d).max() > np.pi / 2
    best = best_of(H, q, d, np.array([0, 5]))
    assert best is not None
    np.testing.assert_allclose(best, expected(H, q, d, [5]), atol=1e-12)


@pytest.mark.parametrize("bandwidth", [1e-300, 1e-30, 1e-3])
def test_small_bandwidths_underflow_to_equality(bandwidth: float) -> None:
    q, d = tokens_of_a_model(11, 1), tokens_of_a_model(12, 3)
    best = best_of(bandwidth, q, d, np.array([0, 3]))
    assert best is not None
    np.testing.assert_allclose(best, 0, atol=2e-5)


def test_int8_rows_take_the_closed_form_and_keep_its_precision() -> None:
    lengths = [1, 30, 7, 60]
    q, d = (
        np.rint(127 * x / np.abs(x).max(axis=1, keepdims=True)).astype(np.int8)
        for x in (tokens_of_a_model(13, 6), tokens_of_a_model(14, sum(lengths)))
    )
    best = best_of(H, q, d, offsets_of(lengths))
    assert best is not None
    wide = unit(q.astype(np.float64), np.float64), unit(d.astype(np.float64), np.float64)
    np.testing.assert_allclose(best, expected(H, *wide, lengths), atol=2e-5)


def test_nothing_is_written_to_the_rows() -> None:
    q, d = tokens_of_a_model(9, 2), tokens_of_a_model(10, 9)
    before = q.copy(), d.copy()
    best_of(H, q, d, np.array([0, 9]))
    np.testing.assert_array_equal(q, before[0])
    np.testing.assert_array_equal(d, before[1])
