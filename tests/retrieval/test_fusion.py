"""z-scores, fusion, smoothing and ranking: properties, limits and invalid scores."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from retrieval.fusion import fuse, ranking, reciprocal_rank, smooth, zscore

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
def test_zscore_makes_nothing_of_a_constant_or_of_rounding(x: list[float]) -> None:
    np.testing.assert_array_equal(zscore(np.array(x)), np.zeros(len(x)))


@pytest.mark.parametrize("x", [[-1e308, 1e308], [0, 5e-324], [1e-30, 3e-30]])
def test_zscore_of_extremes(x: list[float]) -> None:
    np.testing.assert_allclose(zscore(np.array(x)), [-1, 1])


def test_fuse_adds_weighted_zscores() -> None:
    scores = {"cosine": np.array([0.1, 0.2, 0.6]), "bm25": np.array([3.0, 0.0, 0.0]), "spare": np.array([1.0])}
    fused = fuse(scores, {"cosine": 0.5, "bm25": 2.0})
    np.testing.assert_allclose(fused, 0.5 * zscore(scores["cosine"]) + 2 * zscore(scores["bm25"]))
    np.testing.assert_array_equal(fuse(scores, {"cosine": 0.0}), np.zeros(3))


@pytest.mark.parametrize(
    ("scores", "weights", "message"),
    [
        ({"a": np.ones(2)}, {"b": 1.0}, r"no scores for \['b'\]"),
        ({"a": np.ones(2)}, {}, "weights need rankers"),
        ({"a": np.ones(2), "b": np.ones(3)}, {"a": 1.0, "b": 1.0}, "different documents"),
        ({"a": np.ones(2)}, {"a": np.nan}, "non-finite"),
        ({"a": np.array([1, np.nan])}, {"a": 1.0}, r"non-finite score at \[1\]"),
    ],
)
def test_fuse_refuses(scores: dict[str, NDArray[np.float64]], weights: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fuse(scores, weights)


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
        (np.eye(2), np.ones((2, 1)), 1.0, "Gram matrix"),
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


@settings(deadline=None)
@given(SCORES)
def test_ranking_is_the_stable_descending_order(x: NDArray[np.float64]) -> None:
    order = ranking(x)
    assert order.dtype == np.int64
    assert order.tolist() == sorted(range(x.size), key=lambda i: (-x[i], i))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_order_and_no_zscore_from_a_bad_score(bad: float) -> None:
    for function in (ranking, zscore):
        with pytest.raises(ValueError, match=r"non-finite score at \[1\]"):
            function(np.array([0.5, bad, 0.1]))


RANKINGS = st.lists(
    st.permutations(range(12)).flatmap(lambda p: st.integers(1, 12).map(lambda n: p[:n])), min_size=2, max_size=4
)


@settings(deadline=None, max_examples=30)
@given(RANKINGS)
def test_reciprocal_rank_agrees_with_ranx(rankings: list[list[int]]) -> None:
    import ranx  # lazily, since the import takes a second

    runs = [ranx.Run({"q": {str(item): 1 / at for at, item in enumerate(of, 1)}}) for of in rankings]
    expected = ranx.fuse(runs, norm=None, method="rrf", params={"k": 60}).to_dict()["q"]
    found = reciprocal_rank([np.array(of, dtype=np.int64) for of in rankings], [1.0] * len(rankings))
    assert sorted(found.tolist()) == sorted(map(int, expected))
    scores = [expected[str(item)] for item in found.tolist()]
    assert all(a >= b - 1e-12 for a, b in pairwise(scores))


def test_reciprocal_rank_weighs_rankings_and_leaves_out_those_of_weight_0() -> None:
    first, second = np.array([3, 1]), np.array([2, 1])
    assert reciprocal_rank([first, second], [1, 1]).tolist() == [1, 2, 3]
    assert reciprocal_rank([first, second], [3, 1]).tolist() == [1, 3, 2]
    assert reciprocal_rank([first, second], [0, 1]).tolist() == [2, 1]
    assert reciprocal_rank([first, first[:0]], [0, 1]).tolist() == []
