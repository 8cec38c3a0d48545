"""The alert rules, checked by promtool if available (`make chart` downloads it), their targets and runbooks."""

import re

import pytest

from app.api.dialects.detect import PATHS
from app.api.problems import KINDS
from app.health.targets import MEMORY_BYTES, RERANK_MS, SIMILARITY_MS
from app.settings import EngineSettings
from monitoring.check import TESTS, check_files, main
from monitoring.rows import rules
from scripts import debian
from scripts.debian import found
from tests.monitoring.asked import Selector, selectors
from tests.paths import ROOT

RULES = {rule["alert"]: rule for rule in rules()}
OPERATIONS = ROOT / "docs" / "operations"
RUNBOOKS = sorted((OPERATIONS / "runbooks").glob("Qrerank*.md"))
PARTS = ["## What it means", "## Confirm", "## Likely causes", "## What to do now", "## How to prevent it"]
PROMTOOL = found("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason="no Prometheus on the PATH or in .tools: see `make chart`")
def test_promtool_takes_rules_and_configuration_and_every_test_of_the_rules_holds(tmp_path, capsys):
    check_files(PROMTOOL)
    assert f"{len(RULES)} rules" in capsys.readouterr().out
    later = tmp_path / "alerts_test.yml"
    later.write_text(TESTS.read_text(encoding="utf-8").replace("0+11x", "0+1x"))
    with pytest.raises(RuntimeError, match="QrerankErrors"):
        check_files(PROMTOOL, tests=later)


def test_without_promtool_the_check_says_what_it_skipped(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(debian, "TOOLS", tmp_path / "tools")
    with pytest.raises(SystemExit, match="SKIPPED: rules and queries were not checked: prometheus"):
        main()


def test_every_alert_is_tested_when_it_fires_and_when_it_does_not():
    text = TESTS.read_text(encoding="utf-8")
    for name in RULES:
        assert re.search(rf"alertname: {name}, exp_alerts: \[\]", text), name
        assert re.search(rf"alertname: {name}, exp_alerts: \[{{", text), name


def test_limits_and_routes_are_those_that_the_product_promises():
    limits = {name: rule["expr"].rpartition("> ")[2].strip() for name, rule in RULES.items()}
    assert float(limits["QrerankSlow"]) == RERANK_MS / 1000
    assert float(limits["QrerankSimilaritySlow"]) == SIMILARITY_MS / 1000
    assert float(limits["QrerankMemory"]) == MEMORY_BYTES
    assert float(limits["QrerankWaiting"]) == EngineSettings().queue_requests / 4
    (selector,) = selectors(RULES["QrerankSlow"]["expr"])
    assert {value for label, _, value in selector.matchers if label == "route"} == {"|".join(PATHS)}


def test_every_alert_has_its_runbook_and_every_runbook_its_alert():
    assert {page.stem for page in RUNBOOKS} == {*RULES}


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
