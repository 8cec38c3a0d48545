import re

import pytest

from app.api.problems import KINDS
from monitoring.queries import rules
from tests.monitoring.asked import Selector, selectors
from tests.paths import ROOT

OPERATIONS = ROOT / "docs" / "operations"
RUNBOOKS = sorted((OPERATIONS / "runbooks").glob("Qrerank*.md"))
PARTS = ["## What it means", "## Confirm", "## Likely causes", "## What to do now", "## How to prevent it"]


def test_every_alert_has_its_runbook_and_every_runbook_its_alert():
    assert {page.stem for page in RUNBOOKS} == {rule["alert"] for rule in rules()}


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_a_runbook_has_its_parts_and_queries_that_find_what_they_name(page, exercised):
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {page.stem}\n")
    assert re.findall(r"^## .*", text, re.MULTILINE) == PARTS
    blocks = re.findall(r"```promql\n(.*?)```", text, re.DOTALL)
    assert blocks
    for query in (line for block in blocks for line in block.strip().splitlines()):
        for selector in selectors(query):
            reasons = {word for label, _, value in selector.matchers if label == "reason" for word in value.split("|")}
            assert reasons <= KINDS, query
            others = Selector(selector.name, tuple(one for one in selector.matchers if one[0] != "reason"))
            assert selector.name == "up" or any(others.takes(sample) for sample in exercised), query


def test_the_page_of_the_dashboard_has_every_alert_as_it_is():
    page = (OPERATIONS / "dashboard.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(\w+)\]\(runbooks/\1\.md\) \| (\w+) \| .*, for (\d+) min \|$", page, re.MULTILINE)
    assert rows == [(rule["alert"], rule["labels"]["severity"], rule["for"].removesuffix("m")) for rule in rules()]
