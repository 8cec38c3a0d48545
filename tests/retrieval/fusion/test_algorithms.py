"""Fusion algorithms: laws, ranx as an oracle, and limits; smoothing and feedback after them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from retrieval.fusion.algorithms import (
    ALGORITHMS,
    Algorithm,
    Fitted,
    bayesian,
    borda,
    condorcet,
    feedback,
    fuse,
    reciprocal_rank,
    reciprocal_ranks,
    smooth,
    stacking,
    weighted_mean,
)
from retrieval.fusion.normalization import min_max, ranking, zscore

Scores = NDArray[np.float64]
FITTED = Fitted((2.0, 1.0, 0.5), (-1.0, 0.0, -0.5), (0.5, 1.0, 0.25))
# Three rankers, with ties and missing scores among few documents.
SCORES = hnp.arrays(
    np.float64,
    st.tuples(st.just(3), st.integers(1, 12)),
    elements=st.one_of(st.integers(-5, 5).map(float), st.just(np.nan)),
)
WEIGHTS = st.lists(st.sampled_from([0.3, 0.5, 1.0]), min_size=3, max_size=3).map(np.array)
every = pytest.mark.parametrize("algorithm", ALGORITHMS)


@every
@settings(deadline=None, max_examples=30)
@given(scores=SCORES, weights=WEIGHTS, chance=st.randoms(use_true_random=False))
def test_order_of_input_is_no_evidence(algorithm: Algorithm, scores: Scores, weights: Scores, chance) -> None:
    """Documents in another order get the same finite scores, and so do rankers in another order with their weights."""
    fused = fuse(algorithm, scores, weights, FITTED)
    assert fused.shape == scores.shape[1:]
    assert np.isfinite(fused).all()
    documents = chance.sample(range(scores.shape[1]), scores.shape[1])
    np.testing.assert_allclose(fuse(algorithm, scores[:, documents], weights, FITTED), fused[documents], atol=1e-9)
    if algorithm not in {"bayesian", "stacking", "ensemble"}:  # their parameters belong to rankers
        np.testing.assert_allclose(fuse(algorithm, scores[[2, 0, 1]], weights[[2, 0, 1]], FITTED), fused, atol=1e-9)


@every
@settings(deadline=None, max_examples=30)
@given(scores=SCORES, at=st.integers(0, 100))
def test_a_better_score_never_makes_a_document_worse(algorithm: Algorithm, scores: Scores, at: int) -> None:
    at %= scores.shape[1]
    better = scores.copy()
    better[:, at] = 6.0  # above all others, by every ranker
    order = ranking(fuse(algorithm, better, None, FITTED))
    assert order[0] == at or scores.shape[1] == 1


@every
def test_a_ranker_that_failed_counts_for_nothing(algorithm: Algorithm) -> None:
    scores = np.array([[3.0, 1.0, 2.0, 0.0], [0.1, 0.4, 0.2, 0.0], [np.nan] * 4])
    two = Fitted(FITTED.slopes[:2], FITTED.intercepts[:2], FITTED.coefficients[:2])
    order = ranking(fuse(algorithm, scores, np.array([1.0, 0.5, 9.0]), FITTED))
    assert order.tolist() == ranking(fuse(algorithm, scores[:2], np.array([1.0, 0.5]), two)).tolist()
    assert not fuse(algorithm, scores[2:].repeat(3, axis=0), None, FITTED).any()  # nothing is known: all are equal


@every
@pytest.mark.parametrize("scores", [np.zeros((3, 5)), np.full((3, 1), 7.0), np.full((3, 4), 1e308), np.zeros((3, 0))])
def test_equal_scores_and_single_documents_are_left_in_their_order(algorithm: Algorithm, scores: Scores) -> None:
    fused = fuse(algorithm, scores, None, FITTED)
    assert np.isfinite(fused).all()
    assert ranking(fused).tolist() == list(range(scores.shape[1]))


# Four documents that up to three rankers put in an order of their own; of some rankers the last ones are missing.
ORDERS = st.lists(st.permutations(range(5)), min_size=3, max_size=3)
CUTS = st.lists(st.integers(2, 5), min_size=3, max_size=3)


def scores_of(orders: list[list[int]], cuts: list[int]) -> Scores:
    """The rank of each document, turned around, uneven, and NaN after the cut."""
    scores = np.full((len(orders), 5), np.nan)
    for row, order, cut in zip(scores, orders, cuts, strict=True):
        row[order[:cut]] = np.linspace(3, 1, cut) ** 2
    return scores


def by_ranx(scores: Scores, method: str, norm: str | None = None, weights: Scores | None = None) -> list[float]:
    import ranx  # lazily, since the import takes a second

    runs = [ranx.Run({"q": {str(at): row[at] for at in np.argsort(-row) if not np.isnan(row[at])}}) for row in scores]
    params = None if weights is None else {"weights": tuple(weights.tolist())}
    found = ranx.fuse(runs, norm=norm, method=method, params=params).to_dict()["q"]
    return [found.get(str(at), 0.0) for at in range(scores.shape[1])]


@settings(deadline=None, max_examples=20)
@given(ORDERS, CUTS, WEIGHTS)
def test_sums_and_counts_agree_with_ranx(orders: list[list[int]], cuts: list[int], weights: Scores) -> None:
    scores = scores_of(orders, cuts)
    total = weights.sum()
    for found, expected in [
        (weighted_mean(scores, weights) * total, by_ranx(scores, "wsum", "zmuv", weights)),
        (weighted_mean(scores, weights, min_max) * total, by_ranx(scores, "wsum", "min-max", weights)),
        (reciprocal_ranks(scores) * 3, by_ranx(scores, "rrf")),
    ]:
        np.testing.assert_allclose(found, expected, atol=1e-9)
    ranked = ~np.isnan(scores).all(axis=0)  # ranx leaves out documents that no ranker has
    np.testing.assert_allclose(borda(scores[:, ranked]) * 3, by_ranx(scores[:, ranked], "bordafuse"))


@settings(deadline=None, max_examples=20)
@given(ORDERS)
def test_majorities_agree_with_ranx_where_they_give_an_order(orders: list[list[int]]) -> None:
    scores = scores_of(orders, [5, 5, 5])
    found = condorcet(scores)
    if len(set(found.tolist())) == 5:  # else they go round in a circle, and ranx depends on where it begins
        assert ranking(found).tolist() == ranking(np.array(by_ranx(scores, "condorcet"))).tolist()


def test_condorcet_puts_the_winner_of_all_pairs_first_and_ties_circles() -> None:
    favourite = np.array([[3.0, 2, 1, 0], [0, 3, 2, 1], [1, 2, 0, 3]])
    assert condorcet(favourite).tolist() == [-1, 3, -1, -1]
    assert not condorcet(np.array([[2.0, 1, 0], [0, 2, 1], [1, 0, 2]])).any()
    assert ranking(condorcet(favourite, np.array([1.0, 0, 0]))).tolist() == [0, 1, 2, 3]


def test_bayesian_adds_log_odds_and_stacking_weighs_z_scores() -> None:
    scores = np.array([[0.5, np.nan], [2.0, 100.0]])
    np.testing.assert_allclose(bayesian(scores, (4, 1), (-1, -3)), [1 - 1, 0 + 12])  # within ±12
    np.testing.assert_allclose(bayesian(scores, (4, 1), (-1, -3), np.array([2.0, 1.0])), [2 - 1, 12])
    np.testing.assert_allclose(stacking(scores, (5, -2)), [2, -2])  # one known score is its own mean


def test_the_ensemble_is_the_mean_of_the_z_scores_of_all_others() -> None:
    scores = np.random.default_rng(0).standard_normal((3, 9))
    others = [zscore(fuse(each, scores, None, FITTED)) for each in ALGORITHMS if each != "ensemble"]
    np.testing.assert_allclose(fuse("ensemble", scores, None, FITTED), np.mean(others, axis=0))


@pytest.mark.parametrize(
    ("algorithm", "scores", "weights", "message"),
    [
        ("median", np.ones((3, 2)), None, "unknown fusion 'median'; choose one of weighted, min_max, reciprocal_rank"),
        ("weighted", np.ones(3), None, "a row of finite scores"),
        ("weighted", np.array([[1, np.inf]]), None, "a row of finite scores"),
        ("borda", np.ones((3, 2)), np.ones(2), "3 rankers need as many finite weights"),
        ("borda", np.ones((2, 2)), np.array([1, -0.1]), "at least 0"),
        ("borda", np.ones((2, 2)), np.zeros(2), "not all 0"),
        ("borda", np.ones((2, 2)), np.array([1, np.nan]), "finite weights"),
        ("stacking", np.ones((2, 2)), None, "2 rankers need as many parameters, got 3"),
    ],
)
def test_what_cannot_be_fused_is_refused(algorithm: Algorithm, scores: Scores, weights: Scores, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fuse(algorithm, scores, weights, FITTED)


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
