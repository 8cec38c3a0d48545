"""Every regular expression of the service runs in linear time on every text.

Steps are counted, not seconds: a text eight times as long may take at most twelve times as many. A pattern that fails
here tries the same run of characters from many starts or in many ways. The remedies are possessive quantifiers (`++`,
`*+`), and a lookbehind that allows a match only at the start of a run.
"""

import ast
import importlib
import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.backtracking import Matcher, TooManySteps, alphabet

PACKAGES = ("app", "quantum", "retrieval")
SHORT, TIMES, SLACK = 64, 8, 1.5  # code points; growth of the text; tolerance


def modules() -> list[str]:
    """The modules that compile patterns. No others are imported: every process of the tests would load torch for it."""
    return [
        ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        for package in PACKAGES
        for path in sorted(Path(package).rglob("*.py"))
        if "re.compile" in path.read_text(encoding="utf-8")
    ]


def patterns() -> dict[str, re.Pattern[str]]:
    """All compiled patterns by module and name; what several modules use is there once."""
    found = {
        f"{module}.{name}": value
        for module in modules()
        for name, value in vars(importlib.import_module(module)).items()
        if isinstance(value, re.Pattern)
    }
    return {name: value for value, name in {value: name for name, value in found.items()}.items()}


PATTERNS = patterns()
FORMER = {  # former patterns that failed, and others that are known to be slow
    "sentences": re.compile(r"""[.!?…]+["'”’»)\]]*(?=\s)|[。！？]+[」』”’）]*|[\n\r\v\f\x85\u2028\u2029]"""),
    "trailing space": re.compile(r"\s+$"),
    "possessive, from each start": re.compile(r"x?[a-z]++!"),
    "two runs": re.compile(r"(?<!\w)\w+\w+!"),
    "exponential": re.compile(r"(?<!a)(?:a|aa)+b"),
}


def pumped(letters: Sequence[str], chance: random.Random) -> tuple[str, str, str]:
    """A prefix, a repeated part and a suffix, all of the pattern's own characters."""
    begin, end = ("".join(chance.choices(letters, k=chance.randint(0, 3))) for _ in range(2))
    return begin, "".join(chance.choices(letters, k=chance.choice((1, 1, 1, 2, 3, 4)))), end


def assert_linear(pattern: re.Pattern[str]) -> None:
    matcher, letters = Matcher(pattern), alphabet(pattern)
    for number in range(150):
        begin, pump, end = pumped(letters, random.Random(number))  # noqa: S311 - the same in every run
        times = SHORT // len(pump)
        steps = matcher.count(begin + times * pump + end, most=100 * SHORT**2)
        try:
            matcher.count(begin + TIMES * times * pump + end, most=int(TIMES * SLACK * steps))
        except TooManySteps as error:
            error.add_note(f"the text is {begin!r}, many times {pump!r}, {end!r}")
            raise


@pytest.mark.parametrize("name", PATTERNS)
def test_every_pattern_takes_steps_in_proportion_to_the_text(name):
    assert_linear(PATTERNS[name])


@pytest.mark.parametrize("name", FORMER)
def test_one_that_does_not_is_found_out(name):
    with pytest.raises(TooManySteps):
        assert_linear(FORMER[name])


def test_the_patterns_are_found():
    assert {
        "retrieval.text.sentences._END",
        "retrieval.text.words._WORD",
        "app.api.middleware.request_record._VALID_ID",
    } <= PATTERNS.keys()


@pytest.mark.parametrize("package", PACKAGES)
def test_no_pattern_is_hidden_from_this_test(package):
    """`re` is used only to compile module constants, which `patterns` finds."""
    for path in Path(package).rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {id(node.value) for node in tree.body if isinstance(node, ast.Assign)}
        for node in ast.walk(tree):
            assert not (isinstance(node, ast.ImportFrom) and node.module == "re"), path
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re."):
                assert ast.unparse(node.func) == "re.compile", f"{path}:{node.lineno}"
                assert id(node) in constants, f"{path}:{node.lineno}"
