"""What the characters of a text tell of it."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.text.characters import is_read, script_of, symbol_share

ANY = st.text(st.characters(), max_size=20)  # with lone surrogates
ENGLISH = frozenset({"LATIN"})


@given(ANY)
def test_a_share_lies_between_0_and_1_but_for_an_empty_text(text):
    share = symbol_share(text)
    assert np.isnan(share) if not text else 0 <= share <= 1


@pytest.mark.parametrize(
    ("text", "share"), [("abcd", 0), ("(a)=", 0.75), ("é(", 1 / 3), ("a" * 1000 + "((((", 0), ("()" * 999, 1)]
)
def test_symbols_are_counted_at_the_beginning_in_bytes(text, share):
    assert symbol_share(text) == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("which bird sings", True),
        ("Wie heißt die Straße?", True),
        ("Ｗｈｉｃｈ　ｂｉｒｄ", True),  # of full width
        ("", True),
        ("42 ?!", True),
        ("🦉", True),
        ("Где живёт сова?", False),
        ("夜に歌う鳥は?", False),
        ("ﾌｸﾛｳ", False),  # of half width
        ("밤에 우는 새", False),
        ("من يغني ليلا", False),
        ("क्या", False),
        ("Tokyo 東京都庁", True),  # five letters of nine
        ("LED 電灯の歴史", False),
        ("сова " * 200 + "owl " * 2000, False),  # the beginning decides
    ],
)
def test_a_text_is_read_if_half_of_its_letters_are(text, read):
    assert is_read(text, ENGLISH) is read
    assert is_read(text, None)


@given(ANY)
def test_a_text_is_read_by_who_reads_all_of_its_scripts_and_by_nobody_if_it_has_letters(text):
    letters = {script_of(letter) for letter in unicodedata.normalize("NFKC", text)} - {None}
    assert is_read(text, frozenset(letters))
    assert is_read(text, frozenset()) == (not letters)
