"""The files that GitHub and editors look for are in the form that they read."""

import re
import tomllib

import pytest
import yaml

from tests.docs.pages import PAGES
from tests.paths import ROOT

FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
_KINDS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}  # GitHub's syntax for issue forms


def test_the_citation_is_of_this_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "authors"} <= citation.keys()
    told = {name: str(citation[name]) for name in ("title", "version", "license")}
    assert told == {"title": project["name"], "version": project["version"], "license": project["license"]}
    assert citation["abstract"] == project["description"]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.stem)
def test_an_issue_form_is_one(form):
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= content.keys()
    questions = [part for part in content["body"] if part["type"] != "markdown"]
    assert {part["type"] for part in content["body"]} <= _KINDS
    assert len({part["id"] for part in questions}) == len(questions) > 0
    assert all(part["attributes"]["label"] for part in questions)
    assert all(part["attributes"]["options"] for part in questions if part["type"] in {"dropdown", "checkboxes"})


def test_no_page_has_marks_of_a_merge_that_was_not_finished():
    assert not [page.name for page in PAGES if re.search(r"^(<{7}|>{7}) ", page.text, re.MULTILINE)]
