"""Chunks fit into the encoder, make up the text when concatenated, and have about equal lengths."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from retrieval.encoder import chunks as windows
from retrieval.encoder.chunks import USUAL, Chunker, Reading, cut, cut_up
from retrieval.encoder.hash_encoder import HashEncoder


class Counting(HashEncoder):
    """An encoder of at most eight tokens that records the lengths of the texts it tokenises."""

    max_tokens = 8

    def __init__(self) -> None:
        self.looked: list[int] = []

    def token_spans(self, texts):
        self.looked += [len(text) for text in texts]
        return super().token_spans(texts)


def chunker_of(encoder) -> Chunker:
    return Chunker(encoder, lambda text: text.encode("utf-8", "surrogatepass"))


def words(count: int) -> str:
    return " ".join(f"word{i}" for i in range(count))


def sizes(encoder, chunks: list[str]) -> list[int]:
    return [len(spans) for spans in encoder.token_spans(chunks)]


READINGS = st.builds(Reading, st.none() | st.integers(1, 60), st.integers(1, 9))
PROSE = st.lists(st.sampled_from(["owl", "dusk.", "-", "it's", " ", " ", "\n", "ﬁ", "あ。", "\u3000"])).map("".join)


@given(PROSE | st.text(max_size=200), READINGS)
@example("", USUAL)
@example("a" * 5000, Reading(3, 2))
@example("a-" * 500, USUAL)
def test_chunks_are_read_whole_and_make_up_the_text(text, reading):
    encoder = Counting()
    text = text[: chunker_of(encoder).code_points(reading)]
    (cuts,) = chunker_of(encoder).cuts([text], reading)
    chunks = cut_up(text, cuts)
    assert "".join(chunks) == text[: cuts[-1]]
    assert 1 <= len(chunks) <= reading.max_chunks
    assert all(chunks) or not text
    assert max(sizes(encoder, chunks)) <= encoder.max_tokens
    tokens = len(encoder.token_spans([text])[0])
    limit = chunker_of(encoder).limit(reading)
    assert len(encoder.token_spans([text[: cuts[-1]]])[0]) <= limit
    if tokens <= limit - reading.max_chunks * 4:  # cutting at words may leave space in each chunk
        assert cuts[-1] == len(text)
    if tokens <= min(limit, encoder.max_tokens):
        assert cuts == (0, len(text))


@given(st.integers(1, 200), st.integers(1, 30), st.integers(1, 30))
def test_words_are_parted_evenly_and_nothing_is_lost(count, window, most):
    text = words(count)
    (spans,) = HashEncoder().token_spans([text])
    limit = window * most
    chunks = cut_up(text, cut(text, spans, window, limit, most))
    lengths = sizes(HashEncoder(), chunks)
    assert sum(lengths) == min(count, limit)
    assert len(lengths) == -(-min(count, limit) // window)
    assert max(lengths) - min(lengths) <= 1
    assert all(chunk.startswith("word") for chunk in chunks)


def test_three_hundred_tokens_are_two_halves(real_encoder):
    text = "owl dusk river stone song market " * 50
    cutting = chunker_of(real_encoder)
    assert (cutting.size, cutting.limit(USUAL), cutting.limit(Reading(100))) == (254, 16 * 254, 100)
    assert sizes(real_encoder, cut_up(text, cutting.cuts([text], USUAL)[0])) == [150, 150]


SYLLABLES = ["night", "ingale", "-", "x9", "zation", "é", "世", "。", " ", "_"]


@pytest.mark.parametrize("spaces", [0, 1, 40])
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(1, 3000))
def test_the_real_model_reads_chunks_whole_wherever_they_are_cut(real_encoder, spaces, seed, length):
    weights = np.array([1.0] * 8 + [spaces / 4, 1.0])
    drawn = np.random.default_rng(seed).choice(SYLLABLES, length, p=weights / weights.sum())
    text = "".join(drawn)
    (cuts,) = chunker_of(real_encoder).cuts([text], USUAL)
    chunks = cut_up(text, cuts)
    assert max(sizes(real_encoder, chunks)) <= 254
    assert "".join(chunks) == text[: cuts[-1]]
    if spaces == 40:
        assert all(text[at - 1].isspace() for at in cuts[1:-1])


def test_reading_ends_where_it_should_and_before_a_word():
    text = "one two three four five six seven eight nine ten"
    for reading, end in [
        (Reading(3), "one two three "),
        (Reading(1), "one "),
        (Reading(20, 1), text[:40]),
        (USUAL, text),
    ]:
        (cuts,) = chunker_of(Counting()).cuts([text], reading)
        assert text[: cuts[-1]] == end


def test_what_is_far_beyond_the_limit_is_not_looked_at():
    encoder = Counting()
    book = words(100_000)
    (cuts,) = chunker_of(encoder).cuts([book], Reading(max_chunks=4))
    assert len(cuts) == 5
    assert sum(encoder.looked) < 2000
    encoder.looked.clear()
    blank = " " * 200  # longer than the first part that is tokenised
    assert chunker_of(encoder).cuts([blank + book], Reading(max_chunks=1))[0][-1] == len(blank) + len(words(8)) + 1


def test_cuts_are_remembered_for_each_reading():
    encoder = Counting()
    cutting, texts = chunker_of(encoder), [words(20), words(9)]
    assert cutting.cached(texts, USUAL) == [None, None]
    first = cutting.cuts(texts, USUAL)
    looked = len(encoder.looked)
    assert cutting.cuts(texts, USUAL) == cutting.cached(texts, USUAL) == first
    assert len(encoder.looked) == looked
    assert cutting.cuts(texts, Reading(10)) != first


def test_the_least_recently_used_is_forgotten(monkeypatch):
    monkeypatch.setattr(windows, "_MAX_CACHED", 2)
    cutting, texts = chunker_of(Counting()), [words(20), words(9), words(10)]
    cutting.cuts(texts[:2], USUAL)
    cutting.cached(texts[:1], USUAL)
    cutting.cuts(texts[2:], USUAL)
    assert [cuts is None for cuts in cutting.cached(texts, USUAL)] == [False, True, False]


def test_nothing_is_looked_at_when_it_is_too_late():
    encoder = Counting()
    cutting = chunker_of(encoder)
    assert cutting.size == 8
    encoder.looked.clear()
    assert cutting.cuts([words(20)], USUAL, until=0.0) == [None]
    assert not encoder.looked


class Clock:
    """A fake clock; `Slow` advances it by one second per call."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_the_clock_is_looked_at_between_texts_and_between_looks_at_one(monkeypatch):
    clock = Clock()

    class Slow(Counting):
        def token_spans(self, texts):
            clock.now += 1
            return super().token_spans(texts)

    cutting = chunker_of(Slow())
    assert cutting.size == 8
    monkeypatch.setattr(windows, "time", clock)
    texts = [f"{number} " + words(100) for number in range(300)]  # 77 KB are tokenised: two batches
    clock.now = 0
    found = cutting.cuts(texts, USUAL, until=1)
    assert clock.now == 1
    assert 0 < found.index(None) < found.count(None) + found.index(None) == 300
    sparse = ["x" * 4000 + f" {number}" for number in range(3)]  # each part holds too few tokens
    clock.now = 0
    assert cutting.cuts(sparse, USUAL, until=1) == [None] * 3
    assert clock.now == 1
    assert None not in cutting.cuts(texts + sparse, USUAL, until=100)


@pytest.mark.parametrize("pad", [" ", "x", "\u0301"])
def test_a_text_of_few_tokens_is_looked_at_as_far_as_a_language_may_need(pad):
    encoder = Counting()
    cutting, end = chunker_of(encoder), 32 * 8 * 2
    text = pad * (end - 3) + " owl dusk"
    (cuts,) = cutting.cuts([text], Reading(max_chunks=2))
    assert cuts[-1] == end == cutting.code_points(Reading(max_chunks=2))
    assert max(encoder.looked) == end
    assert cutting.cached([text[:end] + "other"], Reading(max_chunks=2)) == [cuts]  # later text is not hashed either
    assert cutting.code_points(Reading(max_tokens=1)) == 32 * 8  # never fewer than the encoder tokenises


@pytest.mark.parametrize("arguments", [{"max_tokens": 0}, {"max_chunks": 0}])
def test_reading_nothing_is_refused(arguments):
    with pytest.raises(ValueError, match="at least one token"):
        Reading(**arguments)
