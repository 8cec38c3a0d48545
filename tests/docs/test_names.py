"""What pages name in backticks exists: files, settings and routes."""

import re
from fnmatch import fnmatch
from functools import cache

import pytest

from scripts.configuration import settings
from tests.docs.description import ROUTES
from tests.docs.pages import PAGES
from tests.paths import ROOT

# What is there depends on what ran before.
IGNORED = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").split()]
FOLDERS = {
    path.name
    for path in ROOT.iterdir()
    if path.is_dir() and path.name != ".git" and not any(fnmatch(path.name, pattern) for pattern in IGNORED)
}
VARIABLES = {setting.variable for setting in settings()}
ELSEWHERE = {"tokenizer.json"}  # in a model's folder
TODAY = [page for page in PAGES if page.name != "CHANGELOG.md"]  # which names what was there once


@cache
def files():
    """The names of all files."""
    return {path.name for folder in FOLDERS for path in (ROOT / folder).rglob("*")} | {
        path.name for path in ROOT.iterdir()
    }


each_page = pytest.mark.parametrize("page", TODAY, ids=lambda page: page.name)


@each_page
def test_files_exist(page):
    for span in page.spans:
        top = re.fullmatch(r"(\.?[\w-]+)/[\w./-]*", span)
        if top and top[1] in FOLDERS:
            assert (ROOT / span).exists() or span.rstrip("/") in IGNORED, span
        elif re.fullmatch(r"[\w-]+\.(py|toml|yml|md|json|service)", span):
            assert span in files() | ELSEWHERE, span


@each_page
def test_settings_exist(page):
    if page.name.startswith(("examples/", "docs/load-tests.md")):
        return  # they have variables of their own
    for name in re.findall(r"\bQRERANK_[A-Z0-9_]*[A-Z0-9]", page.text):
        assert any(variable == name or variable.startswith(f"{name}__") for variable in VARIABLES), name


@each_page
def test_routes_exist(page):
    for span in page.spans:
        if route := re.fullmatch(r"(GET|POST|PUT|DELETE|WS) (/[^\s?]*)", span):
            assert (route[1], re.sub(r"\b[A-Z]{2,}\b", "{name}", route[2])) in ROUTES, span
