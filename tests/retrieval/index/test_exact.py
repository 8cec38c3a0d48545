"""Contract tests for both indexes; FAISS against the exact reference."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval.index.exact import ExactIndex, Index
from retrieval.index.faiss import FaissIndex

Build = Callable[[NDArray[np.float32]], Index]
BUILDS = [ExactIndex, FaissIndex]


def random_rows(n: int, seed: int = 0, dimension: int = 24) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).standard_normal((n, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(params=BUILDS, ids=["exact", "faiss"])
def build(request: pytest.FixtureRequest) -> Build:
    return request.param


def test_finds_itself_first(build: Build) -> None:
    rows = random_rows(300)
    ids, scores = build(rows).search(rows, 5)
    assert (ids.shape, ids.dtype, scores.shape, scores.dtype) == ((300, 5), np.int64, (300, 5), np.float32)
    np.testing.assert_array_equal(ids[:, 0], np.arange(300))
    np.testing.assert_allclose(scores[:, 0], 1, atol=1e-6)
    assert np.all(np.diff(scores, axis=1) <= 0)
    np.testing.assert_allclose(scores, np.einsum("md,mkd->mk", rows, rows[ids]), atol=1e-6)


def test_no_more_hits_than_rows(build: Build) -> None:
    ids, _ = build(random_rows(3)).search(random_rows(2, seed=1), 100)
    np.testing.assert_array_equal(np.sort(ids, axis=1), [[0, 1, 2]] * 2)


def test_none_of_either(build: Build) -> None:
    assert build(random_rows(0)).search(random_rows(2), 5)[0].shape == (2, 0)
    assert build(random_rows(7)).search(random_rows(0), 5)[1].shape == (0, 5)


@pytest.mark.parametrize("k", [1, 10, 99, 100, 150, 400])
def test_equal_scores_come_by_rising_id_even_at_the_cut(build: Build, k: int) -> None:
    few = np.eye(4, dtype=np.float32)
    which = np.random.default_rng(k).integers(0, 4, 500)
    query = np.array([[4, 3, 2, 1]], dtype=np.float32)
    ids, scores = build(few[which]).search(query, k)
    np.testing.assert_array_equal(ids[0], np.argsort(which, kind="stable")[:k])
    np.testing.assert_array_equal(scores[0], 4 - np.sort(which)[:k])


def test_an_answer_does_not_depend_on_its_batch(build: Build) -> None:
    rows, queries = random_rows(4000), random_rows(40, seed=1)
    index = build(rows)
    ids, scores = index.search(queries, 10)
    for at in range(0, 40, 7):
        alone_ids, alone_scores = index.search(queries[at : at + 1], 10)
        np.testing.assert_array_equal(alone_ids[0], ids[at])
        np.testing.assert_allclose(alone_scores[0], scores[at], atol=1e-6)


def test_takes_any_real_dtype_and_layout(build: Build) -> None:
    rows = np.asfortranarray(np.arange(12).reshape(4, 3))
    ids, scores = build(rows).search(np.array([[1, 0, 0]]), 2)
    assert (ids.tolist(), scores.tolist()) == ([[3, 2]], [[9, 6]])


@pytest.mark.parametrize(
    ("queries", "k", "message"),
    [
        (np.ones((1, 23)), 5, "24 dimensions, not 23"),
        (np.ones(24), 5, "rows"),
        (np.full((2, 24), np.nan), 5, "vector 0 is not finite"),
        (np.full((2, 24), np.inf), 5, "vector 0 is not finite"),
        (np.ones((1, 24)), 0, "at least 1"),
    ],
)
def test_refuses_queries(build: Build, queries: NDArray[np.float64], k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(random_rows(5)).search(queries, k)


@pytest.mark.parametrize("vectors", [np.ones(24), np.ones((3, 0)), np.full((3, 2), np.nan)])
def test_refuses_vectors(build: Build, vectors: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match=r"rows|finite"):
        build(vectors)


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 220), st.integers(0, 2**32 - 1))
def test_faiss_agrees_with_the_oracle(n: int, k: int, seed: int) -> None:
    # Small integers have exact inner products and many ties.
    rng = np.random.default_rng(seed)
    rows, queries = rng.integers(-2, 3, (n, 4)), rng.integers(-2, 3, (3, 4))
    expected, index = ExactIndex(rows).search(queries, k), FaissIndex(rows)
    for some in (slice(0, 3), slice(1, 2)):  # together, and alone
        actual = index.search(queries[some], k)
        np.testing.assert_array_equal(actual[0], expected[0][some])
        np.testing.assert_array_equal(actual[1], expected[1][some])


def test_faiss_agrees_with_the_oracle_on_unit_rows() -> None:
    rows, queries = random_rows(3000, dimension=384), random_rows(25, seed=1, dimension=384)
    expected, actual = ExactIndex(rows).search(queries, 100), FaissIndex(rows).search(queries, 100)
    np.testing.assert_allclose(actual[1], expected[1], atol=1e-6)
    # Where the order differs, the scores differ only by rounding.
    swapped = actual[0] != expected[0]
    assert swapped.mean() < 0.01
    assert np.abs(actual[1] - expected[1])[swapped].max(initial=0) < 1e-6


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint8])
def test_numbers_of_numpy_are_numbers(build: Build, kind: type[np.integer]) -> None:
    rows, queries = random_rows(9), random_rows(2, seed=1)
    for some in (queries, queries[:1]):
        for found, expected in zip(build(rows).search(some, kind(5)), build(rows).search(some, 5), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("least", [-1.0, 0.05, 0.15, 2.0])
def test_hits_above_the_least_score_are_all_found(least: float) -> None:
    rows, queries = random_rows(5000, dimension=384), random_rows(5, seed=1, dimension=384)
    expected, actual = ExactIndex(rows).search(queries, 50), FaissIndex(rows).search(queries, 50, least=least)
    alone = [FaissIndex(rows).search(query[None], 50, least=least)[0][0] for query in queries]
    for ids, scores, *found in zip(*expected, actual[0], alone, strict=True):
        for each in found:
            assert set(ids[scores >= least]) <= set(each)


def test_rows_of_very_different_lengths_are_found() -> None:
    """The entries of short rows are rounded to nothing; the bound makes up for it."""
    rows = random_rows(2000, dimension=32) * np.geomspace(1, 1e5, 2000, dtype=np.float32)[:, None]
    allowed = np.arange(2000) < 900
    expected = ExactIndex(rows[:900]).search(random_rows(3, seed=1, dimension=32), 20)
    for queries in (slice(0, 3), slice(0, 1)):  # together, and alone
        actual = FaissIndex(rows).search(random_rows(3, seed=1, dimension=32)[queries], 20, allowed)
        np.testing.assert_array_equal(actual[0], expected[0][queries])


@pytest.mark.parametrize("allowed", [None, np.arange(9000) % 3 > 0, np.arange(9000) == 77])
def test_several_queries_find_what_each_finds_alone(allowed: NDArray[np.bool_] | None) -> None:
    """More than are multiplied at once, over more rows than are; some equal, one of zeros."""
    rows, queries = random_rows(9000, dimension=48), random_rows(20, seed=1, dimension=48)
    queries[3], queries[4] = queries[2], 0
    index = FaissIndex(rows)
    ids, scores = index.search(queries, 30, allowed)
    for at, query in enumerate(queries):
        alone = index.search(query[None], 30, allowed)
        np.testing.assert_array_equal(ids[at], alone[0][0])
        np.testing.assert_array_equal(scores[at], alone[1][0])
