"""The alert rules, checked by promtool if available (`make chart` downloads it), and against the targets."""

import re

import pytest

from app.api.dialects.detect import PATHS
from app.health.targets import MEMORY_BYTES, RERANK_MS, SIMILARITY_MS
from app.settings import EngineSettings
from monitoring.check import CONFIGURATION, SKIPPED, TESTS, check_files, check_queries, main
from monitoring.queries import rules
from scripts import debian
from scripts.debian import Missing, found, had
from tests.monitoring.asked import selectors
from tests.paths import ROOT

RULES = {rule["alert"]: rule for rule in rules()}
PROMTOOL = found("promtool")
with_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no Prometheus on the PATH or in .tools: see `make chart`")


@with_promtool
def test_promtool_takes_rules_and_configuration_and_every_test_of_the_rules_holds(tmp_path, capsys):
    check_files(PROMTOOL)
    assert f"{len(RULES)} rules" in capsys.readouterr().out
    later = tmp_path / "alerts_test.yml"
    later.write_text(TESTS.read_text(encoding="utf-8").replace("../helm", f"{ROOT}/helm").replace("0+11x", "0+1x"))
    with pytest.raises(RuntimeError, match="QrerankErrors"):
        check_files(PROMTOOL, tests=later)
    broken = tmp_path / "prometheus.yml"
    broken.write_text(CONFIGURATION.read_text(encoding="utf-8").replace("scrape_configs", "scrape_config"))
    with pytest.raises(RuntimeError, match="scrape_config not found"):
        check_files(PROMTOOL, configuration=broken)


@pytest.mark.soak
@with_promtool
def test_prometheus_answers_every_query_on_a_real_service():
    check_queries(had("prometheus", "prometheus"))


def test_without_promtool_the_check_says_what_it_skipped(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(debian, "TOOLS", tmp_path / "tools")
    assert main() == SKIPPED
    assert "SKIPPED" in capsys.readouterr().err
    for name, text in (("apt-get", "echo no such host >&2; exit 100"), ("dpkg", "exit 0")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(Missing, match="apt-get download prometheus` failed: no such host"):
        had("promtool", "prometheus")


def test_every_alert_is_tested_when_it_fires_and_when_it_does_not():
    text = TESTS.read_text(encoding="utf-8")
    for name in RULES:
        assert re.search(rf"alertname: {name}, exp_alerts: \[\]", text), name
        assert re.search(rf"alertname: {name}\n +exp_alerts:\n", text), name


def test_limits_and_routes_are_those_that_the_product_promises():
    limits = {name: rule["expr"].rpartition("> ")[2].strip() for name, rule in RULES.items()}
    assert float(limits["QrerankSlow"]) == RERANK_MS / 1000
    assert float(limits["QrerankSimilaritySlow"]) == SIMILARITY_MS / 1000
    assert float(limits["QrerankMemory"]) == MEMORY_BYTES
    assert float(limits["QrerankWaiting"]) == EngineSettings().queue_requests / 4
    (selector,) = selectors(RULES["QrerankSlow"]["expr"])
    assert {value for label, _, value in selector.matchers if label == "route"} == {"|".join(PATHS)}
