"""One suite for every encoder, and what is particular to the transformer one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.encoder import Encoder, batches
from retrieval.hash_encoder import HashEncoder

TEXTS = ["the nightingale sings after dusk", "an owl", "stock prices fell sharply on Monday, said the bank", "an owl"]


@pytest.fixture(params=["hash", "real"])
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return HashEncoder() if request.param == "hash" else request.getfixturevalue("real_encoder")


def test_every_text_gets_a_unit_vector_and_tokens(encoder):
    states = encoder.encode(TEXTS)
    assert len(states) == len(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(states.pooled, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(states.token_rows(), axis=1), 1, rtol=1e-5)
    assert (np.diff(states.offsets) >= 1).all()
    assert states.offsets[-1] == len(states.tokens)
    assert (states.lengths >= np.diff(states.offsets)).all()


def test_same_text_same_states_whatever_stands_beside_it(encoder):
    states = encoder.encode(TEXTS)
    alone = encoder.encode([TEXTS[1]])
    np.testing.assert_array_equal(states.take([1]).tokens, states.take([3]).tokens)
    np.testing.assert_allclose(states.pooled[1], alone.pooled[0], atol=5e-3)  # bf16 rounds by batch shape


def test_encoding_twice_gives_the_same_bytes(encoder):
    first, second = encoder.encode(TEXTS), encoder.encode(TEXTS)
    np.testing.assert_array_equal(first.pooled, second.pooled)
    np.testing.assert_array_equal(first.tokens, second.tokens)


@pytest.mark.parametrize("odd", ["", "   ", "\x00", "🦉", "ﷺ" * 50, "a" * 10_000])
def test_odd_texts_get_states_too(encoder, odd):
    states = encoder.encode([odd, "owl"])
    assert (np.diff(states.offsets) >= 1).all()
    assert np.isfinite(states.pooled).all()


def test_no_texts_give_no_states(encoder):
    states = encoder.encode([])
    assert len(states) == 0
    assert states.offsets.tolist() == [0]
    assert states.pooled.shape[1] == encoder.encode(["x"]).pooled.shape[1]


def test_text_beyond_the_limit_is_cut_off(encoder):
    long = " ".join(f"word{i}" for i in range(encoder.max_tokens + 50))
    states = encoder.encode([long])
    assert states.lengths[0] <= encoder.max_tokens


def test_like_texts_are_nearer_than_unlike_ones(encoder):
    query = encoder.encode(["which bird sings at dusk"], "query").pooled[0]
    cosines = encoder.encode(TEXTS).pooled @ query
    assert cosines[0] > cosines[2]


def test_special_tokens_are_not_scored(real_encoder):
    states = real_encoder.encode(["owl", "two owls"])
    np.testing.assert_array_equal(states.lengths - np.diff(states.offsets), [2, 2])


@given(st.lists(st.integers(1, 300), max_size=40), st.integers(1, 1000))
def test_batches_hold_every_text_once_within_the_budget(lengths, budget):
    found = list(batches(lengths, budget))
    assert sorted(at for batch in found for at in batch) == list(range(len(lengths)))
    for batch in found:
        longest = max(lengths[at] for at in batch)
        assert len(batch) == 1 or longest * len(batch) <= budget


def test_batches_put_like_lengths_together():
    assert list(batches([3, 100, 4, 99], 200)) == [[1, 3], [2, 0]]
