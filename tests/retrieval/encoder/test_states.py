import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.encoder.states import Encoded, join, quantise, unit_rows
from retrieval.errors import EncodingError


def encoded(counts: list[int], seed: int = 0, dimension: int = 8) -> Encoded:
    rng = np.random.default_rng(seed)
    n, total = len(counts), sum(counts)
    return Encoded(
        unit_rows(rng.standard_normal((n, dimension)) if n else np.zeros((0, dimension))),
        quantise(rng.standard_normal((total, dimension)).astype(np.float32)),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.array(counts, dtype=np.int64) + 2,
        np.arange(n, dtype=np.int64) % 2,
    )


def text_of(states: Encoded, i: int) -> np.ndarray:
    return states.tokens[states.offsets[i] : states.offsets[i + 1]]


def test_unit_rows_have_length_one_and_keep_directions():
    rows = np.array([[3, 4], [0, -2]], dtype=np.int8)
    np.testing.assert_allclose(unit_rows(rows), [[0.6, 0.8], [0, -1]], rtol=1e-6)
    assert unit_rows(rows).dtype == np.float32


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_zero_and_non_finite_rows_are_refused(bad):
    rows = np.array([[1.0, 2.0], [bad, bad]], dtype=np.float32)
    for function in (unit_rows, quantise):
        with pytest.raises(EncodingError, match="zero or non-finite"):
            function(rows)


@given(st.integers(0, 2**32 - 1))
def test_quantised_rows_point_where_the_floats_did(seed):
    rows = np.random.default_rng(seed).standard_normal((5, 384)).astype(np.float32)
    cosines = np.sum(unit_rows(rows) * unit_rows(quantise(rows)), axis=1)
    assert cosines.min() > 0.9998


def test_quantising_ignores_scale():
    rows = np.random.default_rng(1).standard_normal((4, 16)).astype(np.float32)
    np.testing.assert_array_equal(quantise(rows), quantise(rows * 1000))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.data())
def test_take_gives_each_text_its_own_tokens(counts, data):
    states = encoded(counts)
    order = data.draw(st.lists(st.integers(0, len(counts) - 1), max_size=8))
    taken = states.take(order)
    assert len(taken) == len(order)
    np.testing.assert_array_equal(taken.pooled, states.pooled[order])
    np.testing.assert_array_equal(taken.lengths, states.lengths[order])
    for at, source in enumerate(order):
        np.testing.assert_array_equal(text_of(taken, at), text_of(states, source))


@given(st.lists(st.integers(1, 4), min_size=2, max_size=6))
def test_join_undoes_take(counts):
    states = encoded(counts)
    parts = [states.take([i]) for i in range(len(counts))]
    joined = join(parts)
    for field in ("pooled", "tokens", "offsets", "lengths"):
        np.testing.assert_array_equal(getattr(joined, field), getattr(states, field))
        assert getattr(joined, field).dtype == getattr(states, field).dtype
