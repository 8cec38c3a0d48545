"""Passages keep every word in order, and are split at boundaries of the text; equal texts have equal traits."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from retrieval.text.passages import TRAITS, split_passages, traits_of

PROSE = st.lists(st.sampled_from(["a", "bee.", "C!", "\n\n", "\n", " ", "  ", "\r\n", "\t", "\n \n\n", "\u2003"])).map(
    "".join
)


@settings(deadline=None, max_examples=300)
@given(st.text() | PROSE, st.integers(1, 9))
@example("\x1c\n\x85\n a", 1)
def test_no_word_is_lost_and_no_passage_too_long(text: str, max_words: int) -> None:
    passages = split_passages(text, max_words)
    assert [word for passage in passages for word in passage.split()] == text.split()
    assert all(1 <= len(passage.split()) <= max_words for passage in passages)
    assert all(passage == passage.strip() for passage in passages)


@settings(deadline=None)
@given(PROSE, st.integers(1, 9))
def test_two_neighbours_never_fit_in_one(text: str, max_words: int) -> None:
    # Greedy packing: two neighbouring passages never fit into one.
    sizes = [len(passage.split()) for passage in split_passages(text, max_words)]
    assert all(one + other > max_words or other == max_words for one, other in pairwise(sizes))


def test_a_short_text_is_one_passage_as_it_stands() -> None:
    assert split_passages("One two.\nThree.\n\n\n\nFour.\n") == ["One two.\nThree.\n\nFour."]


def test_breaks_between_paragraphs_then_sentences_then_words() -> None:
    assert split_passages("a b\n\nc d e\n\nf", 4) == ["a b", "c d e\n\nf"]
    assert split_passages("a b. c d! e f? g", 4) == ["a b. c d!", "e f? g"]
    assert split_passages("a b c d e f g. h", 3) == ["a b c", "d e f", "g. h"]


def test_code_keeps_its_relative_indentation() -> None:
    assert split_passages("   if x:\n       y()\n\n   z()", 10) == ["if x:\n    y()\n\nz()"]


@pytest.mark.parametrize("text", ["", " \n\n \t\r\n"])
def test_a_blank_text_has_no_passage(text: str) -> None:
    assert split_passages(text) == []


def test_refuses_passages_without_words() -> None:
    with pytest.raises(ValueError, match="at least one word"):
        split_passages("a", 0)


ANY = st.text(st.characters(), max_size=20)  # with lone surrogates


@given(st.lists(ANY, max_size=10))
def test_digests_are_equal_where_texts_are(texts):
    traits = traits_of(texts)
    assert traits.dtype == TRAITS
    np.testing.assert_array_equal(traits["characters"], list(map(len, texts)))
    for one, digest in zip(texts, traits["digest"], strict=True):
        np.testing.assert_array_equal(traits["digest"] == digest, [one == other for other in texts])
