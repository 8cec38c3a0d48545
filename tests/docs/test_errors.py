"""docs/errors.md is what `python -m scripts.error_catalogue` prints, and the catalogue has every error."""

import re
from http import HTTPStatus

import pytest

from app.api.error_catalogue import CATALOGUE, code_of
from app.api.problems import KINDS, Problem
from app.errors import ServiceError
from scripts import error_catalogue
from tests.docs.pages import BY_NAME
from tests.paths import ROOT

WRITTEN = re.compile(r'(?:Problem|failed)\(\s*(?:HTTPStatus\.\w+|status), "([a-z-]+)"')
CODES = re.compile(r"^### ([a-z-]+)$", re.MULTILINE)


def test_the_committed_page_is_generated_from_the_catalogue():
    assert (ROOT / "docs" / "errors.md").read_text(encoding="utf-8") == error_catalogue.page(), "run `make pages`"


def test_every_error_of_the_tree_has_an_entry():
    # A subclass of one that has an entry shows as that one.
    kinds = {code_of(kind) for kind in ServiceError.__subclasses__()}
    assert kinds <= KINDS <= set(CATALOGUE) == set(CODES.findall(error_catalogue.page()))


@pytest.mark.parametrize("code", CATALOGUE)
def test_an_entry_says_what_to_do_in_sentences(code):
    entry = CATALOGUE[code]
    for text in (entry.cause, entry.fix):
        assert text[0].isupper() or text[0] == "`"
        assert text.endswith(".")
    waits = entry.status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
    assert ("`Retry-After`" in entry.retry) == waits


@pytest.mark.parametrize("code", CATALOGUE)
def test_a_problem_links_to_its_entry(code):
    path, _, anchor = Problem(CATALOGUE[code].status, code, "", "").body()["help"].partition("#")
    assert path == "/errors"
    assert anchor in BY_NAME["docs/errors.md"].anchors


def test_no_other_code_is_sent():
    """What makes problems without an exception of ours names a code of the catalogue."""
    written = set()
    for path in (ROOT / "app").rglob("*.py"):
        written |= set(WRITTEN.findall(path.read_text(encoding="utf-8")))
    assert "internal" in written <= set(CATALOGUE)
