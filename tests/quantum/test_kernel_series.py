"""The power series of a product state's log fidelity, and its truncation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum import kernel as module
from quantum.kernel import log_gram, polynomial, terms_needed

SEEDS = st.integers(0, 2**32 - 1)


def rows_of(seed: int, n: int, width: int, outliers: int = 0) -> np.ndarray:
    """(n, width) unit rows; some features have three times the spread of the others."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, width)) + rng.normal(size=width)
    x[:, :outliers] *= 3
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def closed_form(bandwidth: float, x: np.ndarray) -> np.ndarray:
    half = bandwidth / 2 * (x[:, np.newaxis] - x[np.newaxis])
    return np.log(np.cos(half) ** 2).sum(axis=2)


def test_coefficients_are_those_of_the_zeta_function() -> None:
    """c_k = 2 lambda(2k) / (k pi**2k), lambda(s) = 1 + 3**-s + 5**-s + ..., as cos is the product over its zeros."""
    odd = 2 * np.arange(200_000) + 1.0
    for k in range(1, 17):
        tail = 1 / (4 * odd[-1]) if k == 1 else 0
        np.testing.assert_allclose(
            module._C[k], 2 * ((odd ** (-2 * k)).sum() + 2 * tail) / (k * np.pi ** (2 * k)), rtol=1e-9
        )
    assert module._C[:4] == [0, 1 / 4, 1 / 96, pytest.approx(1 / 1440)]


def test_successive_coefficients_fall_faster_than_pi_squared() -> None:
    ratios = np.array(module._C[2:]) / module._C[1:-1]
    assert (ratios < 1 / np.pi**2).all()


@given(st.floats(-1.5, 1.5))
def test_the_series_is_the_logarithm(u: float) -> None:
    value = polynomial(np.array([u * u]), module._C)[0]
    np.testing.assert_allclose(value, -np.log(np.cos(u / 2) ** 2), atol=1e-11)


@given(st.floats(0.1, 6), st.integers(1, 12), st.integers(1, 400), st.integers(0, 6), SEEDS)
def test_log_gram_is_the_closed_form(bandwidth: float, n: int, width: int, outliers: int, seed: int) -> None:
    x = rows_of(seed, n, width, outliers)
    log_f = log_gram(bandwidth, x)
    if log_f is not None:
        assert log_f.dtype == np.float64
        assert (log_f <= 0).all()
        np.testing.assert_array_equal(log_f, log_f.T)
        np.testing.assert_allclose(log_f, closed_form(bandwidth, x), atol=1e-5)


@given(st.floats(0.1, 6), st.integers(2, 8), st.integers(1, 60), SEEDS)
def test_the_remainder_is_what_was_promised(bandwidth: float, n: int, width: int, seed: int) -> None:
    x = rows_of(seed, n, width)
    u = bandwidth * (x - (x.max(axis=0) + x.min(axis=0)) / 2)
    terms = terms_needed(u)
    if terms is not None:
        squares = (u[:, np.newaxis] - u[np.newaxis]) ** 2
        partial = -polynomial(squares, module._C[: terms + 1]).sum(axis=2)
        remainder = partial - closed_form(bandwidth, x)
        assert remainder.min() > -1e-12  # all coefficients are positive
        assert remainder.max() <= 1e-6 + 1e-12


def test_vectors_of_a_model_need_few_terms() -> None:
    x = rows_of(0, 50, 384)
    assert log_gram(8**0.5, x) is not None
    u = 8**0.5 * (x - (x.max(axis=0) + x.min(axis=0)) / 2)
    needed = [terms_needed(factor * u) for factor in (0.01, 0.5, 1)]
    assert needed == sorted(needed)
    assert needed[0] == 1
    assert needed[2] <= 8


@pytest.mark.parametrize("reach", [np.pi - 1e-9, np.pi, np.pi + 1e-9, 50.0])
def test_angles_near_pi_have_no_short_series(reach: float) -> None:
    assert log_gram(reach, np.array([[1.0, 0.5], [0.0, 0.5]])) is None


def test_one_row_and_equal_rows_need_one_term() -> None:
    assert terms_needed(np.zeros((3, 5))) == 1
    np.testing.assert_array_equal(log_gram(2.0, np.full((3, 5), 0.2)), np.zeros((3, 3)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_polynomial_keeps_its_dtype(dtype: type) -> None:
    x = np.array([0.0, 0.5, 2.0], dtype=dtype)
    value = polynomial(x, [1.0, 2.0, 3.0])
    assert value.dtype == dtype
    np.testing.assert_allclose(value, [1, 2.75, 17])
    np.testing.assert_array_equal(polynomial(x, [4.0]), [4, 4, 4])
