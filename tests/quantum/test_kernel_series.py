"""The series of a product state's log fidelity, and its truncation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum.kernel import log_gram, terms_needed

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
    tangents = np.tan(bandwidth / 2 * (x - (x.max(axis=0) + x.min(axis=0)) / 2))
    terms = terms_needed(tangents)
    if terms is not None:
        products = tangents[:, np.newaxis] * tangents[np.newaxis]
        series = sum((-1) ** (k + 1) / k * products**k for k in range(1, terms + 1))
        norms = np.log1p(tangents**2).sum(axis=1)
        partial = 2 * series.sum(axis=2) - norms[:, np.newaxis] - norms
        np.testing.assert_allclose(partial, closed_form(bandwidth, x), rtol=1e-12, atol=1e-6)


def test_vectors_of_a_model_need_few_terms() -> None:
    x = rows_of(0, 50, 384)
    assert log_gram(8**0.5, x) is not None
    angles = 8**0.5 / 2 * (x - (x.max(axis=0) + x.min(axis=0)) / 2)
    needed = [terms_needed(np.tan(factor * angles)) for factor in (0.01, 0.5, 1)]
    assert needed == sorted(needed)
    assert needed[0] == 1
    assert needed[2] <= 8


@pytest.mark.parametrize("reach", [np.pi - 1e-9, np.pi, np.pi + 1e-9])
def test_angles_near_pi_have_no_short_series(reach: float) -> None:
    assert log_gram(reach, np.array([[1.0, 0.5], [0.0, 0.5]])) is None


@pytest.mark.parametrize("turns", [1, 2, 5])
def test_angles_beyond_pi_are_those_within_it(turns: int) -> None:
    """The tangent repeats, as the squared cosine does."""
    x = np.array([[0.3, 0.5], [0.0, 0.5], [0.1, 0.2]])
    further = x + 4.0 * turns * np.eye(3, 2)
    np.testing.assert_allclose(log_gram(np.pi, further), closed_form(np.pi, x), atol=1e-6)


def test_one_row_and_equal_rows_need_one_term() -> None:
    assert terms_needed(np.zeros((3, 5))) == 1
    np.testing.assert_array_equal(log_gram(2.0, np.full((3, 5), 0.2)), np.zeros((3, 3)))
