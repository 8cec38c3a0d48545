import re

import pytest
import yaml
from pydantic import BaseModel

from app.errors import KINDS
from app.settings import Settings
from monitoring.__main__ import files
from monitoring.alerting import GROUPS
from monitoring.queries import of_the_rules
from tests.monitoring.asked import Selector, selectors
from tests.paths import ROOT

OPERATIONS = ROOT / "docs" / "operations"
RUNBOOKS = sorted((OPERATIONS / "runbooks").glob("Qrerank*.md"))
PAGES = sorted(OPERATIONS.rglob("*.md"))
PARTS = ["## What it means", "## Confirm", "## Likely causes", "## What to do now", "## How to prevent it"]


def settings_of(model: type[BaseModel], before: str = "QRERANK_") -> set[str]:
    """Every setting's variable, groups of settings among them."""
    found = set()
    for name, field in model.model_fields.items():
        variable = before + name.upper()
        found.add(variable)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= settings_of(field.annotation, f"{variable}__")
    return found


def test_every_alert_has_its_runbook_and_every_runbook_its_alert():
    assert {page.stem for page in RUNBOOKS} == {rule.whose for rule in of_the_rules()}


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_a_runbook_has_every_part_in_its_order(page):
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {page.stem}\n")
    assert re.findall(r"^## .*", text, re.MULTILINE) == PARTS


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_the_queries_of_a_runbook_find_what_they_name(page, exercised):
    blocks = re.findall(r"```promql\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for query in (line for block in blocks for line in block.strip().splitlines()):
        for selector in selectors(query):
            reasons = {word for label, _, value in selector.matchers if label == "reason" for word in value.split("|")}
            assert reasons <= KINDS, query
            others = Selector(selector.name, tuple(one for one in selector.matchers if one[0] != "reason"))
            assert selector.name == "up" or any(others.takes(sample) for sample in exercised), query


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(OPERATIONS)))
def test_every_setting_that_is_named_exists(page):
    named = set(re.findall(r"\bQRERANK_[A-Z0-9_]*[A-Z0-9]", page.read_text(encoding="utf-8")))
    assert named <= settings_of(Settings) | {"QRERANK_"}, page.name


def test_the_page_of_the_dashboard_has_every_alert_as_it_is():
    page = (OPERATIONS / "dashboard.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(\w+)\]\(runbooks/\1\.md\) \| (\w+) \| .*, for (\d+) min \|$", page, re.MULTILINE)
    alerts = [alert for group in GROUPS.values() for alert in group]
    assert rows == [(alert.name, alert.severity, str(alert.minutes)) for alert in alerts]
    tests = yaml.safe_load(files()["alerts_test.yml"])["tests"]
    assert f"{len(alerts)} rules passed" in page and f"{len(tests)} cases passed" in page
