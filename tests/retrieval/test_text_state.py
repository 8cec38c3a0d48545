import gc
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.encoding import Encoded
from retrieval.errors import RetrievalError
from retrieval.hash_encoder import DIMENSION, HashEncoder
from retrieval.lexical import terms_of, tokenize
from retrieval.state_cache import StateCache
from retrieval.text_state import CorruptState, StateKeys, TextState, from_bytes, state_key, to_bytes

FIELDS = ("pooled", "tokens", "offsets", "lengths")
ENCODER = HashEncoder()
anything = st.text(st.characters(exclude_categories=()))  # lone surrogates as well


def state_of(text: str) -> TextState:
    return TextState(ENCODER.encode([text]), terms_of(text))


def assert_same(one: TextState, other: TextState) -> None:
    assert one.terms == other.terms
    for field in FIELDS:
        mine, theirs = getattr(one.encoded, field), getattr(other.encoded, field)
        assert mine.dtype == theirs.dtype
        assert mine.shape == theirs.shape
        assert mine.tobytes() == theirs.tobytes()


RECORD = to_bytes(state_of("The cat sat on the mat."))


@given(anything)
def test_terms_survive_being_joined_and_split(text):
    assert terms_of(text).split() == tokenize(text)


def test_the_terms_in_the_key_are_those_of_this_tokenizer():
    """When this fails, `tokenize` cuts differently: raise the number in LEXICAL_FORMAT, then mend this test."""
    text = "Don't panic: naïve ﬁles' owners’ caches were ＷＡＲＭ, 3.5 states/second; 日本語 to be or not"
    assert terms_of(text) == "panic naïv file owner cach warm 3 5 state second 日本語"


@pytest.mark.parametrize("texts", [[], ["a", "b"]])
def test_a_state_is_of_one_text(texts):
    with pytest.raises(ValueError, match="one text"):
        TextState(ENCODER.encode(texts), "")


def test_nobody_can_write_into_a_shared_state():
    state = state_of("cat")
    for each in (state, from_bytes(to_bytes(state), DIMENSION, DIMENSION)):
        for field in FIELDS:
            with pytest.raises(ValueError, match="read-only"):
                getattr(each.encoded, field)[...] = 0


@pytest.mark.parametrize("text", ["cat", "the quick brown fox jumps " * 50, "日本語 " * 100])
def test_nbytes_is_what_keeping_states_costs(text):
    count, record = 300, to_bytes(state_of(text))
    from_bytes(record, DIMENSION, DIMENSION)
    gc.collect()
    cache = StateCache(10**9)
    tracemalloc.start()
    for number in range(count):
        cache.put({number.to_bytes(24, "little"): from_bytes(record, DIMENSION, DIMENSION)})
    measured = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert cache.counts().bytes == pytest.approx(measured, rel=0.1)


# Keys


def test_a_key_depends_on_everything_the_state_does():
    parts = [("d", "e"), ("a", "b"), ("query", "document"), ("x", "y", "")]
    keys = [state_key(d, a, role, text) for d in parts[0] for a in parts[1] for role in parts[2] for text in parts[3]]
    assert len(set(keys)) == 2 * 2 * 2 * 3
    assert {len(key) for key in keys} == {24}


@given(*[st.text(max_size=4)] * 4)
def test_no_fields_run_together(digest, arithmetic, other_digest, other_arithmetic):
    same = (digest, arithmetic) == (other_digest, other_arithmetic)
    one, other = StateKeys(digest, arithmetic), StateKeys(other_digest, other_arithmetic)
    assert (one("query", "text") == other("query", "text")) is same


@given(anything, anything)
def test_different_texts_have_different_keys_and_equal_ones_the_same(one, other):
    keys = StateKeys("digest", "arithmetic")
    assert (keys("query", one) == keys("query", other)) is (one == other)
    assert keys("document", one) == StateKeys("digest", "arithmetic")("document", one)


def test_a_lone_surrogate_is_not_what_stands_for_it():
    keys = StateKeys("digest", "arithmetic")
    texts = ["\ud800\udc00", "\U00010000", "\ud800", "?", "\ufffd"]
    assert len({keys("document", text) for text in texts}) == len(texts)


def test_there_are_two_roles():
    with pytest.raises(KeyError):
        StateKeys("digest", "arithmetic")("answer", "text")


# Records


@given(anything)
def test_a_state_comes_back_bit_for_bit(text):
    state = state_of(text)
    assert_same(from_bytes(to_bytes(state), DIMENSION, DIMENSION), state)


@given(st.integers(1, 5), st.integers(1, 7), st.integers(1, 4), st.integers(0, 2**62), anything, st.randoms())
def test_any_state_comes_back_bit_for_bit(count, dimension, pooled, length, terms, random):
    """Dimensions may differ, and no value is special: not NaN, not -0.0, not -128."""
    floats = np.frombuffer(random.randbytes(4 * pooled), np.float32).reshape(1, pooled).copy()
    rows = np.frombuffer(random.randbytes(count * dimension), np.int8).reshape(count, dimension).copy()
    state = TextState(Encoded(floats, rows, np.array([0, count]), np.array([length])), terms)
    assert_same(from_bytes(to_bytes(state), pooled, dimension), state)


def test_a_state_does_not_live_on_the_buffer_it_was_read_from():
    buffer = bytearray(RECORD)
    state = from_bytes(buffer, DIMENSION, DIMENSION)
    buffer[:] = bytes(len(buffer))
    assert_same(state, from_bytes(RECORD, DIMENSION, DIMENSION))


def test_every_flipped_bit_is_refused():
    for at in range(8 * len(RECORD)):
        flipped = bytearray(RECORD)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(CorruptState):
            from_bytes(bytes(flipped), DIMENSION, DIMENSION)


def test_every_cut_and_every_addition_is_refused():
    for end in range(len(RECORD)):
        with pytest.raises(CorruptState):
            from_bytes(RECORD[:end], DIMENSION, DIMENSION)
    for wrong in (RECORD + b"\0", b"\0" + RECORD, RECORD + RECORD):
        with pytest.raises(CorruptState):
            from_bytes(wrong, DIMENSION, DIMENSION)


@given(st.binary(max_size=200))
def test_no_other_bytes_are_a_state(data):
    for wrong in (data, RECORD[:4] + data, RECORD[:32] + data):
        with pytest.raises(CorruptState, match="encode the text again"):
            from_bytes(wrong, DIMENSION, DIMENSION)


@pytest.mark.parametrize("dimensions", [(DIMENSION + 1, DIMENSION), (DIMENSION, DIMENSION // 2), (0, 0)])
def test_another_models_dimensions_are_refused(dimensions):
    with pytest.raises(CorruptState, match="dimensions 64, 64"):
        from_bytes(RECORD, *dimensions)


def test_a_record_without_tokens_is_refused():
    """Its checksum is right, but no text has such a state."""
    none = Encoded(np.ones((1, 2), np.float32), np.zeros((0, 2), np.int8), np.zeros(2, np.int64), np.ones(1, np.int64))
    with pytest.raises(CorruptState, match="damaged"):
        from_bytes(to_bytes(TextState(none, "")), 2, 2)


def test_a_corrupt_state_is_one_of_our_errors():
    assert issubclass(CorruptState, RetrievalError)
