"""Normalization and ranking: properties, limits and invalid scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from retrieval.fusion.normalization import by_ranker, first_of_each, min_max, ranking, ranks, zscore

SCORES = hnp.arrays(np.float64, st.integers(0, 30), elements=st.integers(-1000, 1000).map(float))


@settings(deadline=None)
@given(SCORES, st.floats(1e-3, 1e3), st.integers(-1000, 1000))
def test_zscore_is_standard_and_blind_to_scale_and_shift(x: NDArray[np.float64], scale: float, shift: int) -> None:
    z = zscore(x)
    if x.size and x.min() < x.max():
        np.testing.assert_allclose([z.mean(), z.std()], [0, 1], atol=1e-9)
    else:
        np.testing.assert_array_equal(z, np.zeros_like(x))
    np.testing.assert_allclose(zscore(scale * (x + shift)), z, atol=1e-9)


@pytest.mark.parametrize("x", [[0.1] * 7, [0.0, -0.0], [5.0], [1e308] * 3, [5e-324] * 2, [0.7, 0.7 + 6e-8, 0.7]])
def test_nothing_is_made_of_a_constant_or_of_rounding(x: list[float]) -> None:
    np.testing.assert_array_equal(zscore(np.array(x)), np.zeros(len(x)))
    np.testing.assert_array_equal(min_max(np.array(x)), np.zeros(len(x)))


@pytest.mark.parametrize("x", [[-1e308, 1e308], [0, 5e-324], [1e-30, 3e-30]])
def test_extremes(x: list[float]) -> None:
    np.testing.assert_allclose(zscore(np.array(x)), [-1, 1])
    np.testing.assert_allclose(min_max(np.array(x)), [0, 1])


@settings(deadline=None)
@given(SCORES)
def test_min_max_and_ranks_keep_the_order(x: NDArray[np.float64]) -> None:
    scaled, placed = min_max(x), ranks(x)
    assert ranking(scaled).tolist() == ranking(-placed).tolist() == ranking(x).tolist()
    assert placed.sum() == x.size * (x.size + 1) / 2
    if x.size and x.min() < x.max():
        assert (scaled.min(), scaled.max()) == (0, 1)


def test_equal_scores_share_their_ranks() -> None:
    np.testing.assert_array_equal(ranks(np.array([2, 5, 2, -np.inf, 2.0])), [3, 1, 3, 5, 3])


def test_missing_scores_are_left_out_of_normalization() -> None:
    scores = np.array([[1, np.nan, 3], [np.nan] * 3])
    np.testing.assert_allclose(by_ranker(zscore, scores), [[-1, 0, 1], [0, 0, 0]])
    np.testing.assert_array_equal(by_ranker(min_max, scores, -1), [[0, -1, 1], [-1, -1, -1]])


def test_the_first_of_each_group_is_found() -> None:
    assert first_of_each(np.array([7, 3, 7, 3, 9])).tolist() == [0, 1, 4]


@settings(deadline=None)
@given(SCORES)
def test_ranking_is_the_stable_descending_order(x: NDArray[np.float64]) -> None:
    order = ranking(x)
    assert order.dtype == np.int64
    assert order.tolist() == sorted(range(x.size), key=lambda i: (-x[i], i))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_order_and_no_normalization_of_a_bad_score(bad: float) -> None:
    for function in (ranking, zscore, min_max):
        with pytest.raises(ValueError, match=r"non-finite score at \[1\]"):
            function(np.array([0.5, bad, 0.1]))
