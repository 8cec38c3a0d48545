"""Validation and normalisation of input rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum.errors import InvalidVector
from quantum.vectors import directions, real_rows, state_rows


@given(st.integers(0, 2**32 - 1), st.integers(-36, 36), st.integers(1, 40))
def test_a_direction_has_no_scale(seed: int, exponent: int, width: int) -> None:
    x = np.random.default_rng(seed).uniform(0.1, 1, size=(3, width))
    scaled = (x * 10.0**exponent).astype(np.float32)
    unit = directions(scaled, np.float32)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(unit, x / np.linalg.norm(x, axis=1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.float16, np.float32, np.float64])
def test_every_real_dtype_has_directions(dtype: type) -> None:
    x = np.array([[3, 4], [100, 0]], dtype=dtype)
    np.testing.assert_allclose(directions(x, np.float64), [[0.6, 0.8], [1, 0]], rtol=1e-15)
    np.testing.assert_array_equal(x, np.array([[3, 4], [100, 0]]))  # the input is not modified


def test_the_most_negative_int8_and_extremes_of_float32() -> None:
    np.testing.assert_array_equal(directions(np.array([[-128, 0]], dtype=np.int8), np.float32), [[-1, 0]])
    limits = np.finfo(np.float32)
    x = np.array([[limits.max, -limits.max], [limits.smallest_subnormal, 0]], dtype=np.float32)
    np.testing.assert_allclose(directions(x, np.float32), [[0.5**0.5, -(0.5**0.5)], [1, 0]], rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -np.inf])
def test_a_row_without_direction_is_named(value: float) -> None:
    x = np.ones((4, 3))
    x[2] = 0
    x[2, 1] = value
    with pytest.raises(InvalidVector, match="row 2 is zero or not finite"):
        state_rows(x)
    with pytest.raises(InvalidVector, match="row 12 is zero or not finite"):
        directions(x, np.float64, first=10)


def test_no_rows_are_fine() -> None:
    assert directions(np.empty((0, 3)), np.float32).shape == (0, 3)
    assert state_rows(np.empty((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("x", [np.ones(4), np.ones((2, 0)), np.ones((2, 2), complex), np.array([["a", "b"]])])
def test_only_rows_of_real_numbers_are_accepted(x: np.ndarray) -> None:
    with pytest.raises(InvalidVector, match="expected rows"):
        real_rows(x)
    with pytest.raises(InvalidVector, match="expected rows"):
        directions(x, np.float32)
