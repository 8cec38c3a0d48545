"""Contract tests for every encoder, and tests of the transformer encoder."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from retrieval.encoder.chunks import Chunker
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.encoder.protocol import PAD_TOKENS, Encoder, pass_shapes, pass_size, passes
from retrieval.encoder.transformer import TextEncoder
from tests.embeddings_peer import connected, serving_peer

TEXTS = ["the nightingale sings after dusk", "an owl", "stock prices fell sharply on Monday, said the bank", "an owl"]


@pytest.fixture(scope="module")
def remote_encoder(tmp_path_factory):
    """Our own /v1/embeddings behind a URL."""
    folder = tmp_path_factory.mktemp("peer")
    with serving_peer(folder, {"hash": HashEncoder()}) as peer:
        encoder, _ = connected(peer, folder)
        yield encoder
        encoder.breaker.close()


@pytest.fixture(params=["hash", "real", "late", "remote"])
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return HashEncoder() if request.param == "hash" else request.getfixturevalue(f"{request.param}_encoder")


def test_every_text_gets_a_unit_vector_and_tokens(encoder):
    states = encoder.encode(TEXTS)
    assert len(states) == len(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(states.pooled, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(states.token_rows(), axis=1), 1, rtol=1e-5)
    assert (np.diff(states.offsets) >= 1).all()
    assert states.offsets[-1] == len(states.tokens)
    assert (states.lengths >= np.diff(states.offsets)).all()


def test_same_text_same_states_whatever_stands_beside_it(encoder):
    states = encoder.encode(TEXTS * 3)
    alone = encoder.encode([TEXTS[1]])
    for at in (1, 3, 5, 11):
        np.testing.assert_array_equal(states.take([at]).tokens, alone.tokens)
        np.testing.assert_array_equal(states.pooled[at], alone.pooled[0])


def test_encoding_twice_gives_the_same_bytes(encoder):
    first, second = encoder.encode(TEXTS), encoder.encode(TEXTS)
    np.testing.assert_array_equal(first.pooled, second.pooled)
    np.testing.assert_array_equal(first.tokens, second.tokens)


@pytest.mark.parametrize("odd", ["", "   ", "\x00", "🦉", "ﷺ" * 50, "a" * 10_000, "half \ud83e of an owl"])
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


@pytest.mark.parametrize("pad", [" ", "\u0301", "a" * 100 + " ", "\u200d"])
def test_no_more_is_looked_at_than_a_language_may_need(encoder, pad):
    end = 32 * encoder.max_tokens
    text = (pad * end)[: end - 4] + " owl"
    (read,), (longer,) = encoder.tokenize([text]), encoder.tokenize([text + " dusk" + pad * end])
    assert read.ids.tolist() == longer.ids.tolist()
    assert len(read.ids) == encoder.max_tokens or read.ids[read.content][-1] in encoder.tokenize(["owl"])[0].ids


def test_like_texts_are_nearer_than_unlike_ones(encoder):
    query = encoder.encode(["which bird sings at dusk"], "query").pooled[0]
    cosines = encoder.encode(TEXTS).pooled @ query
    assert cosines[0] > cosines[2]


def test_special_tokens_are_not_scored(real_encoder):
    states = real_encoder.encode(["owl", "two owls"])
    np.testing.assert_array_equal(states.lengths - np.diff(states.offsets), [2, 2])


def test_passes_of_tokens_are_what_encode_gives(encoder):
    read = encoder.tokenize(TEXTS)
    whole = encoder.encode(TEXTS)
    np.testing.assert_array_equal(encoder.encode_tokens(read).tokens, whole.tokens)
    for at, text in enumerate(read):
        np.testing.assert_array_equal(encoder.forward([text]).tokens, whole.take([at]).tokens)
    assert len(read[0].ids) == whole.lengths[0] <= read[0].padded


def test_spans_say_where_the_tokens_lie(encoder):
    text = "The owl  sings, söftly"
    (spans,) = encoder.token_spans([text])
    found = [text[start:end] for start, end in spans]
    if encoder.granularity == "document":  # the peer's tokens are not known: they are estimated
        assert found == ["The", "owl", "sing", "s", ",", "söft", "ly"]
    else:
        assert [word for word in found if word != ","] == ["The", "owl", "sings", "söftly"]
    assert spans.dtype == np.int64


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "🦉 İstanbul e\u0301a",
        "ﷺ" * 50,
        "你好世界。再见",
        "a" * 10_000,
        "x-y_z " * 500,
        "half \ud83e of an owl",
    ],
)
def test_there_is_a_span_for_each_token_and_row_however_long_the_text(encoder, text):
    (read,), (spans,) = encoder.tokenize([text]), encoder.token_spans([text])
    assert spans.shape == (len(spans), 2)
    assert (spans[:, 0] < spans[:, 1]).all()
    assert (np.diff(spans, axis=0) >= 0).all()
    assert not spans.size or spans.max() <= len(text)
    if len(read.ids) == encoder.max_tokens:
        assert len(spans) > encoder.max_tokens - 10
    (rows,) = encoder.row_spans([text])
    assert len(rows) == (1 if encoder.granularity == "document" else read.content.sum())
    own = rows[rows[:, 1] > rows[:, 0]]
    assert set(own[:, 0].tolist()) <= set(spans[:, 0].tolist())
    if not encoder.late_interaction:  # else some tokens have no rows
        np.testing.assert_array_equal(own[:, 0], spans[: len(own), 0])


def test_spans_leave_the_prompt_out(real_encoder):
    spec = dataclasses.replace(real_encoder._spec, prompts={"document": "passage: ", "query": "query: "})
    prompted = TextEncoder(spec, Tokenizer.from_str(real_encoder._tokenizer.to_str()), real_encoder._forward, "test")
    (read,), (spans,) = prompted.tokenize(["an owl"]), prompted.token_spans(["an owl"])
    assert spans.tolist() == [[0, 0], [0, 0], [0, 2], [3, 6]]  # "passage", ":", "an", "owl"
    assert len(spans) == read.content.sum()
    assert Chunker(prompted, str.encode).size == 256 - 4


@given(st.lists(st.integers(1, 20).map(lambda n: n * 16), max_size=60), st.integers(1, 1000))
def test_passes_hold_every_text_once_beside_its_like_and_within_the_budget(padded, budget):
    found = list(passes(padded, budget))
    assert sorted(at for batch in found for at in batch) == list(range(len(padded)))
    for batch in found:
        lengths = {padded[at] for at in batch}
        assert len(lengths) == 1
        assert len(batch) == 1 or len(batch) * lengths.pop() <= budget
    lengths = [padded[batch[0]] for batch in found]
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize(
    ("count", "padded", "size"), [(1, 16, 1), (3, 16, 2), (4, 128, 4), (5, 128, 4), (9, 256, 2), (9, 1024, 1)]
)
def test_a_pass_has_a_power_of_two_of_texts(count, padded, size):
    assert pass_size(count, padded) == size


@given(st.data(), st.integers(1, 512))
def test_every_pass_has_a_shape_that_was_warmed(data, longest):
    shapes = set(pass_shapes(longest))
    lengths = data.draw(st.lists(st.integers(1, longest), min_size=1, max_size=60))
    padded = [min(-(-length // PAD_TOKENS) * PAD_TOKENS, longest) for length in lengths]
    assert all((len(batch), padded[batch[0]]) in shapes for batch in passes(padded))


@pytest.mark.parametrize("text", ["", "an owl", "owl " * 600, "[SEP] owl [CLS] " * 200, "[PAD]" * 300, "日本" * 300])
def test_texts_are_truncated_as_the_tokenizer_would(real_encoder, text):
    own = Tokenizer.from_str(real_encoder._tokenizer.to_str())
    own.enable_truncation(real_encoder.max_tokens)
    (found,), expected = real_encoder.tokenize([text]), own.encode(text)
    assert found.ids.tolist() == expected.ids
    special = np.array(expected.special_tokens_mask, dtype=bool)
    assert found.content.tolist() == (~special if not special.all() else special).tolist()
