import gc
import math
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.encoder.hash_encoder import DIMENSION, HashEncoder
from retrieval.encoder.states import Encoded, quantise, unit_rows
from retrieval.errors import RetrievalError
from retrieval.states.cache import StateCache, StateKeys
from retrieval.states.record import CorruptState, Seal, TextState, from_bytes, to_bytes
from retrieval.text.bm25 import NO_TERMS, Terms

FIELDS = ("pooled", "tokens", "offsets", "lengths", "unknown")
ENCODER = HashEncoder()
anything = st.text(st.characters(exclude_categories=()))  # including lone surrogates


def state_of(text: str) -> TextState:
    return TextState(ENCODER.encode([text]), Terms.of(text))


def assert_same(one: TextState, other: TextState) -> None:
    assert one.terms.language == other.terms.language
    pairs = [(getattr(one.encoded, field), getattr(other.encoded, field)) for field in FIELDS]
    for mine, theirs in [*pairs, (one.terms.numbers, other.terms.numbers)]:
        assert mine.dtype == theirs.dtype
        assert mine.shape == theirs.shape
        assert mine.tobytes() == theirs.tobytes()


STATE = state_of("The cat sat on the mat.")
RECORD = to_bytes(STATE)
SECRET = b"a secret of thirty-two characters"
CHECKSUM = Seal()
SEALS = (CHECKSUM, Seal(SECRET))
FIELDS_BYTES = 32  # the sizes after the seal


def test_the_terms_in_the_key_are_those_of_this_version():
    """If this fails, `Terms.of` returns other terms: raise the number in LEXICAL_FORMAT, then update this test."""
    text = "Don't panic: naïve ﬁles' owners’ caches were ＷＡＲＭ, 3.5 states/second, as get_userName says; 日本語"
    terms = Terms.of(text)
    words = "don't panic naïv file owner cach were warm 3 5 state second as get_usernam say 日本 本語 日 本 語"
    words += " get user name 3.5 states/second"
    assert terms.language == "en"
    assert terms.numbers.tolist() == [zlib.crc32(word.encode()) for word in words.split()]


@pytest.mark.parametrize("texts", [[], ["a", "b"]])
def test_a_state_is_of_one_text(texts):
    with pytest.raises(ValueError, match="one text"):
        TextState(ENCODER.encode(texts), NO_TERMS)


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
    keys = [StateKeys(d, a)(role, text) for d in parts[0] for a in parts[1] for role in parts[2] for text in parts[3]]
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


@given(st.integers(1, 5), st.integers(1, 7), st.integers(1, 4), st.integers(0, 64), anything, st.randoms())
def test_any_state_comes_back_bit_for_bit(count, dimension, pooled, special, terms, random):
    """The pooled and the token dimension may differ."""
    state = made(count, dimension, pooled, special, terms, random.randint(0, 2**32))
    for seal in SEALS:
        assert_same(from_bytes(to_bytes(state, b"key", seal), pooled, dimension, b"key", seal), state)


def made(count: int, dimension: int, pooled: int, special: int, terms: str, seed: int) -> TextState:
    chance = np.random.default_rng(seed)
    vector = unit_rows(chance.standard_normal((1, pooled)))
    rows = quantise(chance.standard_normal((count, dimension), dtype=np.float32))
    unknown = np.array([chance.integers(0, count + 1)])
    return TextState(Encoded(vector, rows, np.array([0, count]), np.array([count + special]), unknown), Terms.of(terms))


def test_a_state_does_not_live_on_the_buffer_it_was_read_from():
    buffer = bytearray(RECORD)
    state = from_bytes(buffer, DIMENSION, DIMENSION)
    buffer[:] = bytes(len(buffer))
    assert_same(state, from_bytes(RECORD, DIMENSION, DIMENSION))


@pytest.mark.parametrize("seal", SEALS, ids=["checksum", "secret"])
def test_every_flipped_bit_is_refused(seal):
    record = to_bytes(STATE, b"key", seal)
    for at in range(8 * len(record)):
        flipped = bytearray(record)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(CorruptState):
            from_bytes(bytes(flipped), DIMENSION, DIMENSION, b"key", seal)


@pytest.mark.parametrize("seal", SEALS, ids=["checksum", "secret"])
def test_every_cut_and_every_addition_is_refused(seal):
    record = to_bytes(STATE, b"key", seal)
    for end in range(len(record)):
        with pytest.raises(CorruptState):
            from_bytes(record[:end], DIMENSION, DIMENSION, b"key", seal)
    for wrong in (record + b"\0", b"\0" + record, record + record):
        with pytest.raises(CorruptState):
            from_bytes(wrong, DIMENSION, DIMENSION, b"key", seal)


@given(st.binary(max_size=200))
def test_no_other_bytes_are_a_state(data):
    for wrong in (data, RECORD[:4] + data, RECORD[:32] + data):
        with pytest.raises(CorruptState, match="encode the text again"):
            from_bytes(wrong, DIMENSION, DIMENSION)


@pytest.mark.parametrize("dimensions", [(DIMENSION + 1, DIMENSION), (DIMENSION, DIMENSION // 2), (0, 0)])
def test_another_models_dimensions_are_refused(dimensions):
    with pytest.raises(CorruptState, match="dimensions 64, 64"):
        from_bytes(RECORD, *dimensions)


def with_pooled(vector: list[float]) -> TextState:
    return TextState(
        Encoded(
            np.array([vector], np.float32),
            np.full((1, 2), 127, np.int8),
            np.array([0, 1]),
            np.array([1]),
            np.array([0]),
        ),
        NO_TERMS,
    )


def with_rows(*rows: list[int], length: int | None = None) -> TextState:
    tokens, count = np.array(rows, np.int8).reshape(-1, 2), len(rows)
    lengths = np.array([count if length is None else length], np.int64)
    return TextState(
        Encoded(np.array([[1, 0]], np.float32), tokens, np.array([0, count]), lengths, lengths * 0), NO_TERMS
    )


@pytest.mark.parametrize("seal", SEALS, ids=["checksum", "secret"])
@pytest.mark.parametrize(
    "state",
    [
        *(with_pooled([first, 0]) for first in (0, 0.99, 1.01, -2, 3e38, math.inf, -math.inf, math.nan)),
        with_pooled([1, math.nan]),
        *(with_rows(row) for row in ([0, 0], [126, -126], [-128, 0], [-128, 127])),
        with_rows([127, 0], [0, 1]),
        with_rows(),
        *(with_rows([127, 0], length=length) for length in (0, -1, 2**20 + 1, 2**62, -(2**63))),
        *(with_rows([127, 0], [0, 127], length=length) for length in (1, 2**20 + 1, 2**62)),
    ],
)
def test_a_state_that_no_encoder_makes_is_refused_though_its_seal_is_right(state, seal):
    for rows in ([127, -127], [-127, 3]), ([127, -127],):  # fewer rows than tokens: valid
        from_bytes(to_bytes(with_rows(*rows, length=2**20), seal=seal), 2, 2, seal=seal)
    with pytest.raises(CorruptState, match="encode the text again"):
        from_bytes(to_bytes(state, seal=seal), 2, 2, seal=seal)


@pytest.mark.parametrize("terms", [b"\xffen\0", b"en\0\0abc"])
def test_terms_that_are_none_are_refused(terms):
    body = to_bytes(with_rows([127, 0]))[CHECKSUM.nbytes :]
    size = len(NO_TERMS.to_bytes())
    body = body[: FIELDS_BYTES - 4] + len(terms).to_bytes(4, "little") + body[FIELDS_BYTES:-size] + terms
    with pytest.raises(CorruptState, match="invalid terms"):
        from_bytes(CHECKSUM.sign(b"", body) + body, 2, 2)


@pytest.mark.parametrize("seal", SEALS, ids=["checksum", "secret"])
@given(edits=st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=9)), max_size=4), cut=st.integers(0, 100))
def test_whatever_is_sealed_is_a_state_that_can_be_used_or_corrupt(seal, edits, cut):
    """Records with a valid seal and modified bodies: an attacker who knows the secret writes into Redis."""
    body = bytearray(to_bytes(STATE, b"key", seal)[seal.nbytes :])
    for number, written in edits:
        at = number % (FIELDS_BYTES if number % 2 else len(body))
        body[at : at + len(written)] = written
    del body[len(body) - cut * (cut < 10) :]
    try:
        state = from_bytes(seal.sign(b"key", bytes(body)) + bytes(body), DIMENSION, DIMENSION, b"key", seal)
    except CorruptState:
        return
    assert np.linalg.norm(state.encoded.pooled) == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(np.linalg.norm(state.encoded.token_rows(), axis=1), 1, atol=1e-5)
    assert len(state.encoded.tokens) <= state.encoded.lengths[0] <= 2**20
    assert 0 <= state.encoded.unknown[0] <= len(state.encoded.tokens)
    assert Terms.from_bytes(state.terms.to_bytes()).language == state.terms.language


@given(data=st.binary(max_size=400))
def test_no_bytes_are_a_state_that_nobody_sealed(data):
    for seal in SEALS:
        for wrong in (data, seal.magic + data, to_bytes(STATE, b"key", seal)[: seal.nbytes + FIELDS_BYTES] + data):
            with pytest.raises(CorruptState):
                from_bytes(wrong, DIMENSION, DIMENSION, b"key", seal)


def test_a_record_is_its_keys_alone_and_its_secrets():
    other, shorter = Seal(b"another secret" * 3), Seal(SECRET[:-1])
    for seal in SEALS:
        record = to_bytes(STATE, b"key", seal)
        for key in (b"", b"kez", b"key\0", b"ke"):
            with pytest.raises(CorruptState):
                from_bytes(record, DIMENSION, DIMENSION, key, seal)
        for wrong in (other, shorter, *(each for each in SEALS if each is not seal)):
            with pytest.raises(CorruptState):
                from_bytes(record, DIMENSION, DIMENSION, b"key", wrong)


def test_secrets_are_told_apart_by_names_that_do_not_tell_them():
    names = {Seal(secret).name for secret in (SECRET, SECRET + b"1", None)}
    assert len(names) == 3
    assert b"" in names
    assert not any(SECRET in name or SECRET.hex().encode() in name for name in names)


def test_a_corrupt_state_is_one_of_our_errors():
    assert issubclass(CorruptState, RetrievalError)
