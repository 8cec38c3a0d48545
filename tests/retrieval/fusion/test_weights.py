"""Weights of rankers by what they show."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from retrieval.fusion.normalization import zscore
from retrieval.fusion.weights import by_agreement, by_performance, by_spread

SCORES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(0, 12)),
    elements=st.one_of(st.integers(-5, 5).map(float), st.just(np.nan)),
)


@settings(deadline=None)
@given(SCORES, st.floats(0.1, 10))
def test_confidence_is_finite_and_blind_to_scale(scores: NDArray[np.float64], scale: float) -> None:
    for weigh in (by_spread, by_agreement):
        weights = weigh(scores)
        assert weights.shape == (len(scores),)
        assert (weights >= 0).all()
        np.testing.assert_allclose(weigh(scale * scores + 1), weights, atol=1e-6)


def test_a_ranker_whose_best_stand_out_is_sure() -> None:
    even, one_stands_out = np.linspace(0, 1, 50), np.eye(50)[7]
    weights = by_spread(np.stack([even, one_stands_out, np.ones(50), np.full(50, np.nan)]), top=1)
    assert weights[1] == pytest.approx(7)
    assert weights[1] > weights[0] > weights[2] == weights[3] == 0


@pytest.mark.parametrize("n", range(3, 25))
def test_of_few_documents_the_best_half_shows_how_sure_a_ranker_is(n: int) -> None:
    even, one_stands_out = np.arange(n, dtype=np.float64), np.eye(n)[0]
    weights = by_spread(np.stack([even, 7 * even[::-1] + 1, one_stands_out]))
    np.testing.assert_allclose(weights[1], weights[0])
    assert (weights > 0.1).all()
    np.testing.assert_allclose(weights[0], -np.sort(-zscore(even))[: min(10, (n + 1) // 2)].mean())


def test_rounding_is_no_agreement() -> None:
    scores = np.array([[0.1, 0.7], [0.2, 0.3], [0.9, 0.3]])  # one agrees with the first, one contradicts it
    np.testing.assert_array_equal(by_agreement(scores), [0, 0, 0])
    x = np.array([0.1, 0.7, 0.3])
    np.testing.assert_array_equal(by_agreement(np.stack([x, x / 3, 1 - x])), [0, 0, 0])


def test_a_ranker_that_contradicts_the_others_gets_nothing() -> None:
    x = np.arange(10.0)
    assert by_agreement(np.stack([x, 2 * x, -x]))[2] == 0
    np.testing.assert_array_equal(by_agreement(np.stack([x, 2 * x])), [1, 1])
    np.testing.assert_array_equal(by_agreement(x[np.newaxis]), [0])  # there is nobody to agree with


def test_past_performance() -> None:
    np.testing.assert_allclose(by_performance([0.1, 0.3]), [0.2, 1.8])
    np.testing.assert_allclose(by_performance([0.1, 0.3], power=1), [0.5, 1.5])
    for nothing in ([], [0.0, 0.0], [0.5, -0.1], [0.5, np.nan]):
        with pytest.raises(ValueError, match="past performances"):
            by_performance(nothing)
