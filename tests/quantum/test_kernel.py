"""The Gram matrix of the fidelity kernel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum.errors import InvalidVector
from quantum.feature_maps import feature_map
from quantum.kernel import gram, log_gram

EPS = float(np.finfo(np.float32).eps)  # the series sums powers in float32


def unit_rows(seed: int, m: int, width: int, dtype: type = np.float64) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(m, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(dtype)


@settings(deadline=None)
@given(
    st.sampled_from(["angle", "entangled"]),
    st.integers(2, 4),
    st.floats(0.1, 6),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.integers(0, 2**32 - 1),
)
def test_gram_is_a_kernel_matrix(name: str, n: int, bandwidth: float, shape: tuple[int, int], seed: int) -> None:
    matrix = gram(feature_map(name, n, bandwidth), unit_rows(seed, *shape))
    assert matrix.dtype == np.float64
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(np.diag(matrix), 1)
    assert ((matrix >= 0) & (matrix <= 1)).all()
    assert np.linalg.eigvalsh(matrix)[0] > -1e-6 * len(matrix)  # the series is truncated at 1e-6


def test_gram_holds_the_pairwise_fidelities() -> None:
    fm, x = feature_map("entangled", 3), unit_rows(0, 7, 20)
    np.testing.assert_allclose(gram(fm, x), fm.fidelity(x, x), atol=1e-12)


@pytest.mark.parametrize("bandwidth", [0.1, 8**0.5, 6])
@pytest.mark.parametrize("n", [1, 2, 60])
def test_gram_of_a_product_map_is_the_simulation(n: int, bandwidth: float) -> None:
    fm, x = feature_map("angle", 4, bandwidth), unit_rows(n, n, 384)
    x[-1] = x[0]
    matrix = gram(fm, x.astype(np.float32))
    np.testing.assert_allclose(matrix, fm.fidelity(x, x), rtol=1e-5)
    np.testing.assert_array_equal(matrix, matrix.T)


def test_gram_beyond_the_series_is_the_simulation() -> None:
    fm, x = feature_map("angle", 2, 2.0), np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    assert log_gram(fm.bandwidth, x) is None
    np.testing.assert_allclose(gram(fm, x), fm.fidelity(x, x), rtol=1e-12)


@pytest.mark.parametrize("width", [511, 512, 513, 5000])
def test_log_gram_of_wide_rows_is_the_closed_form(width: int) -> None:
    """The product of all factors of 5000 features, 1.36 each, would overflow."""
    x = np.arctan(0.6) * np.sign(np.random.default_rng(width).normal(size=(3, width)))
    closed = 2 * np.log(np.cos(x[:, np.newaxis] - x)).sum(axis=-1)
    np.testing.assert_allclose(log_gram(2.0, x), closed, rtol=1e-6, atol=4 * EPS * width)


@pytest.mark.parametrize("name", ["angle", "entangled"])
def test_no_rows_have_an_empty_gram_matrix(name: str) -> None:
    assert gram(feature_map(name), np.empty((0, 8))).shape == (0, 0)


def test_repeated_rows_are_as_like_as_can_be() -> None:
    for width in (12, 384):  # angles too wide for the series, and narrow ones
        matrix = gram(feature_map(), np.repeat(unit_rows(1, 2, width, np.float32), 3, axis=0))
        np.testing.assert_allclose(matrix[:3, :3], 1, atol=1e-6)
        assert np.linalg.eigvalsh(matrix)[0] > -1e-6


def test_rows_without_a_state_are_refused() -> None:
    with pytest.raises(InvalidVector, match="row 0"):
        gram(feature_map(), np.zeros((2, 4)))
    with pytest.raises(InvalidVector, match="expected rows"):
        gram(feature_map(), np.ones((2, 4), dtype=complex))
