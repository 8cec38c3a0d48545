"""Escaping of control characters and of characters that reorder text."""

import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.telemetry.printable import CONTROLS, escaped

ANYTHING = st.text(st.characters(exclude_categories=()))  # lone surrogates included


@given(ANYTHING)
def test_nothing_is_left_that_a_terminal_would_obey(text):
    for character in escaped(text):
        assert unicodedata.category(character) not in {"Cc", "Cs", "Zl", "Zp"}
        assert character not in "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@given(ANYTHING)
def test_escaping_twice_is_escaping_once(text):
    assert escaped(escaped(text)) == escaped(text)
    assert escaped(escaped(text, lines=True)) == escaped(text)


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_json_stays_the_same_json(text):
    assert json.loads(escaped(json.dumps(text, ensure_ascii=False))) == text


@pytest.mark.parametrize(
    "text",
    [
        "[/x] :smile: \\n",
        "naïve café",
        "日本\u3000語",
        "می\u200cخواهم",
        "👨\u200d👩\u200d👧",
        "a\u00a0b",
        "e\u0301",
        "",
    ],
)
def test_whatever_people_write_stays(text):
    assert escaped(text) == text
    assert not re.search(f"[{CONTROLS}]", text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\u001b[31mred"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x9b2J\x7f", r"\u009b2J\u007f"),
        ("exe.\u202etxt", r"exe.\u202etxt"),
        ("caf\udce9", r"caf\udce9"),
    ],
)
def test_the_rest_is_written_as_json_would(text, shown):
    assert escaped(text) == shown


def test_lines_may_stay():
    assert escaped("a\nb\x1b", lines=True) == "a\nb\\u001b"
