"""The step-counting matcher finds the same matches as `re`, and its steps grow as the time of `re` does."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backtracking import Matcher, TooManySteps, alphabet

PATTERNS = [
    r"a",
    r"[^a]b?",
    r"a+b|a",
    r"(?:ab|a)+?b",
    r"a{2,3}b{2}",
    r"a{1,2}?b",
    r"(a|b)\1",
    r"(?P<x>a+)(?:b(?P<y>b))?-(?P=x)",
    r"(?<!a)a++b",
    r"(?>a+|ab)b",
    r"(?:ab|a)*+b",
    r"b(?=(a+))\1",
    r"a(?!b).",
    r"(?<=ab)(?:a|b)+",
    r"^a+|b$",
    r"\ba|\Bb\b",
    r"(?i:A)b|\w\s",
]


@pytest.mark.parametrize("flags", [0, re.MULTILINE | re.DOTALL], ids=["plain", "lines"])
@pytest.mark.parametrize("pattern", PATTERNS)
@settings(max_examples=40)
@given(text=st.text("aab-\n A", max_size=30))
def test_it_finds_what_re_finds(pattern, flags, text):
    compiled = re.compile(pattern, flags)
    assert list(Matcher(compiled).finditer(text)) == [match.span() for match in compiled.finditer(text)]


@pytest.mark.parametrize(
    ("pattern", "text", "growth"),
    [
        (r"a+", "a", 8),
        (r"a+b", "a", 8**2),  # from each start to the end, then backtracking
        (r"a++b", "a", 8**2),  # no backtracking, but still from each start
        (r"(?<!a)a++b", "a", 8),
        (r"a+a+b", "a", 8**3),
        (r"[ab]{1,4}c", "ab", 8),
    ],
)
def test_steps_grow_as_they_should(pattern, text, growth):
    matcher = Matcher(re.compile(pattern))
    few, many = (matcher.count(text * n) for n in (20, 160))
    assert many / few == pytest.approx(growth, rel=0.25)


def test_it_stops_where_there_are_too_many_steps():
    with pytest.raises(TooManySteps, match="more than 1000 steps"):
        Matcher(re.compile(r"(?:a+)+b")).count("a" * 30, most=1000)


@pytest.mark.parametrize("pattern", [r"a*", r"(?:a?)*b", r"(a)?(?(1)b|c)"])
def test_what_it_does_not_know_is_said(pattern):
    with pytest.raises(NotImplementedError):
        Matcher(re.compile(pattern))


def test_an_alphabet_has_what_a_pattern_tells_apart():
    assert set("xq7é[") <= set(alphabet(re.compile(r"x[^q](?:[7-é]|(?=\[))")))
