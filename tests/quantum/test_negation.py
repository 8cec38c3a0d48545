"""q NOT x: hand-computed examples in two and three dimensions, and properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum.errors import InvalidVector
from quantum.negation import excluded_shares

X, Y, Z = np.eye(3)
SEEDS = st.integers(0, 2**32 - 1)


def unit_rows(seed: int, m: int, width: int = 8) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(m, width))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_in_the_plane() -> None:
    # Excluding 45 degrees from x: its part orthogonal to x is y, so the share is sin**2.
    query, excluded = np.array([1.0, 0.0]), np.array([[1.0, 1.0]])
    t = np.linspace(0, np.pi, 9)
    documents = np.stack([np.cos(t), np.sin(t)], axis=1)
    np.testing.assert_allclose(excluded_shares(query, excluded, documents), np.sin(t) ** 2, atol=1e-15)


def test_in_space() -> None:
    documents = np.array([X, Y, Z, (X + Y) / 2**0.5, (X + Z) / 2**0.5])
    np.testing.assert_allclose(excluded_shares(X, Y[np.newaxis], documents), [0, 1, 0, 0.5, 0], atol=1e-15)


def test_several_exclusions_are_a_subspace() -> None:
    # NOT (a OR b): y + z lies in the span of the excluded y and y + 2z, and is excluded like them.
    documents = np.array([X, Y, Z, (Y + Z) / 2**0.5])
    scores = excluded_shares(X, np.array([Y, Y + 2 * Z]), documents)
    np.testing.assert_allclose(scores, [0, 1, 1, 1], atol=1e-15)


def test_an_exclusion_said_twice_counts_once() -> None:
    documents = unit_rows(0, 5)
    query, excluded = unit_rows(1, 1)[0], unit_rows(2, 1)
    once = excluded_shares(query, excluded, documents)
    np.testing.assert_allclose(excluded_shares(query, np.repeat(excluded, 3, axis=0), documents), once, atol=1e-13)
    np.testing.assert_allclose(excluded_shares(query, -excluded, documents), once, atol=1e-13)


def test_only_what_is_orthogonal_to_the_query_is_taken_away() -> None:
    np.testing.assert_allclose(excluded_shares(X, np.array([0.9 * X + 0.1 * Y]), X[np.newaxis]), [0], atol=1e-15)


@settings(deadline=None)
@given(SEEDS, st.integers(1, 6), st.integers(1, 5))
def test_laws(seed: int, k: int, n: int) -> None:
    query, excluded, documents = unit_rows(seed, 1)[0], unit_rows(seed + 1, k), unit_rows(seed + 2, n)
    scores = excluded_shares(query, excluded, documents)
    assert scores.shape == (n,)
    assert scores.dtype == np.float64
    assert ((scores >= 0) & (scores <= 1)).all()
    assert (scores <= 1 - (documents @ query) ** 2 + 1e-12).all()
    np.testing.assert_allclose(excluded_shares(3 * query, 2 * excluded, 5 * documents), scores, atol=1e-12)
    np.testing.assert_allclose(excluded_shares(query, excluded, query[np.newaxis]), [0], atol=1e-12)
    # Additional exclusions never lower a share.
    fewer = excluded_shares(query, excluded[:1], documents)
    assert (scores >= fewer - 1e-12).all()


@settings(deadline=None)
@given(SEEDS)
def test_agrees_with_gram_schmidt_written_out(seed: int) -> None:
    query, excluded, documents = unit_rows(seed, 1)[0], unit_rows(seed + 1, 2), unit_rows(seed + 2, 3)
    first = excluded[0] - (excluded[0] @ query) * query
    first /= np.linalg.norm(first)
    second = excluded[1] - (excluded[1] @ query) * query
    second -= (second @ first) * first
    second /= np.linalg.norm(second)
    expected = [(d @ first) ** 2 + (d @ second) ** 2 for d in documents]
    np.testing.assert_allclose(excluded_shares(query, excluded, documents), expected, atol=1e-12)


def test_float32_is_computed_in_float64() -> None:
    query, excluded, documents = unit_rows(3, 1)[0], unit_rows(4, 2), unit_rows(5, 4)
    narrow = excluded_shares(*(x.astype(np.float32) for x in (query, excluded, documents)))
    np.testing.assert_allclose(narrow, excluded_shares(query, excluded, documents), atol=1e-6)


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
def test_vectors_of_any_norm_have_their_directions_alone(scale: float) -> None:
    query, excluded, documents = unit_rows(3, 1)[0], unit_rows(4, 2), unit_rows(5, 4)
    expected = excluded_shares(query, excluded, documents)
    for sizes in np.where(np.eye(3, dtype=bool), scale, 1.0):
        scaled = (size * x for size, x in zip(sizes, (query, excluded, documents), strict=True))
        np.testing.assert_allclose(excluded_shares(*scaled), expected, rtol=1e-12)


@pytest.mark.parametrize("excluded", [X, -X, X + 1e-8 * Y])
def test_an_exclusion_parallel_to_the_query_is_refused(excluded: np.ndarray) -> None:
    with pytest.raises(InvalidVector, match="excluded vector 1 is parallel to the query"):
        excluded_shares(X, np.array([Y, excluded]), np.array([Z]))


@pytest.mark.parametrize("bad", [np.zeros(3), np.array([1.0, np.nan, 0.0]), np.array([np.inf, 0.0, 0.0])])
def test_vectors_without_direction_are_refused_and_named(bad: np.ndarray) -> None:
    with pytest.raises(InvalidVector, match="query vectors: row 0 is zero or not finite"):
        excluded_shares(bad, Y[np.newaxis], np.array([Z]))
    with pytest.raises(InvalidVector, match="excluded vectors: row 0"):
        excluded_shares(X, bad[np.newaxis], np.array([Z]))
    with pytest.raises(InvalidVector, match="document vectors: row 1"):
        excluded_shares(X, Y[np.newaxis], np.array([Z, bad]))


def test_shapes_must_agree() -> None:
    with pytest.raises(InvalidVector, match="widths must be equal"):
        excluded_shares(X, np.ones((1, 2)), np.array([Z]))
    with pytest.raises(InvalidVector, match="widths must be equal"):
        excluded_shares(X, Y[np.newaxis], np.ones((2, 4)))
    with pytest.raises(InvalidVector, match="at least one excluded vector"):
        excluded_shares(X, np.empty((0, 3)), np.array([Z]))
    with pytest.raises(InvalidVector, match=r"excluded vectors: expected rows .* of real numbers"):
        excluded_shares(X, Y, np.array([Z]))
