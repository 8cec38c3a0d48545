"""Smoothing and feedback: properties, limits and invalid input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval.fusion.normalization import zscore
from retrieval.fusion.stages import feedback, smooth


def random_gram(n: int, seed: int) -> NDArray[np.float64]:
    rows = np.random.default_rng(seed).standard_normal((n, 5))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows @ rows.T) ** 2


@settings(deadline=None)
@given(st.integers(1, 25), st.floats(1e-3, 1e3), st.integers(0, 10**6))
def test_smoothing_shrinks_each_eigenvector_by_its_eigenvalue(n: int, ridge: float, seed: int) -> None:
    gram, scores = random_gram(n, seed), np.random.default_rng(seed + 1).standard_normal((2, n))
    values, vectors = np.linalg.eigh(gram)
    smoothed = smooth(gram, scores[0], ridge)
    np.testing.assert_allclose(smoothed, vectors @ (values / (values + ridge) * (vectors.T @ scores[0])), atol=1e-8)
    # Smoothing is linear and never increases the norm.
    np.testing.assert_allclose(
        smooth(gram, scores.sum(axis=0), ridge), smoothed + smooth(gram, scores[1], ridge), atol=1e-8
    )
    np.testing.assert_allclose(smooth(gram, scores.T, ridge)[:, 0], smoothed, atol=1e-8)
    assert np.linalg.norm(smoothed) <= np.linalg.norm(scores[0]) + 1e-9


def test_smoothing_limits() -> None:
    scores = np.array([1.0, -2.0, 4.0])
    np.testing.assert_allclose(
        smooth(np.eye(3), scores, 1.0), scores / 2
    )  # unrelated documents: all scaled equally, order unchanged
    np.testing.assert_allclose(
        smooth(np.ones((3, 3)), scores, 1e-9), [1, 1, 1]
    )  # identical documents: all get the mean
    np.testing.assert_allclose(smooth(np.eye(3) + 0.1, scores, 1e-12), scores)
    assert smooth(np.zeros((0, 0)), np.zeros(0), 1.0).shape == (0,)


def test_smoothing_lifts_the_neighbour_of_a_good_document() -> None:
    gram = np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1.0]])
    smoothed = smooth(gram, np.array([2.0, 0.0, 0.0]), 1.0)
    assert smoothed[0] > smoothed[1] > smoothed[2] == 0


@pytest.mark.parametrize(
    ("gram", "scores", "ridge", "message"),
    [
        (np.eye(2), np.ones(3), 1.0, "Gram matrix"),
        (np.eye(2), np.ones((2, 1, 1)), 1.0, "Gram matrix"),
        (np.ones(2), np.ones(2), 1.0, "Gram matrix"),
        (np.full((2, 2), np.nan), np.ones(2), 1.0, r"non-finite score at \[0, 0\]"),
        (np.eye(2), np.array([1, np.inf]), 1.0, "non-finite"),
        (np.eye(2), np.ones(2), 0.0, "ridge"),
        (np.eye(2), np.ones(2), np.nan, "ridge"),
    ],
)
def test_smoothing_refuses(gram: NDArray[np.float64], scores: NDArray[np.float64], ridge: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        smooth(gram, scores, ridge)


def test_feedback_lifts_what_resembles_the_best() -> None:
    gram = np.array([[1, 0.9, 0, 0], [0.9, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    scores = np.array([3.0, 0.0, 0.5, 0.4])
    assert feedback(gram, scores, 1, 0.5)[1] > feedback(gram, scores, 1, 0.5)[2]
    np.testing.assert_allclose(feedback(gram, scores, 1, 0.0), zscore(scores))
    np.testing.assert_allclose(feedback(gram, scores, 2, 1.0), zscore(gram[:, [0, 2]].mean(axis=1)))
    np.testing.assert_array_equal(feedback(np.ones((1, 1)), np.ones(1), 10, 0.5), [0.0])
    assert feedback(np.zeros((0, 0)), np.zeros(0), 10, 0.5).shape == (0,)


@pytest.mark.parametrize(("top", "share"), [(0, 0.5), (1, -0.1), (1, 1.1), (1, np.nan)])
def test_feedback_refuses(top: int, share: float) -> None:
    with pytest.raises(ValueError, match="at least 1 document and a share in"):
        feedback(np.eye(2), np.ones(2), top, share)
