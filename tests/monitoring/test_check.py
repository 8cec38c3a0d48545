import pytest

from monitoring import prometheus
from monitoring.check import SKIPPED, Failed, check_configuration, check_files, check_queries, main
from monitoring.prometheus import CONFIGURATION, Missing, found, had

PROMETHEUS = found("prometheus")


def test_the_committed_files_are_held_to_the_metrics(monkeypatch, tmp_path):
    check_files()
    monkeypatch.setattr("monitoring.check.HERE", tmp_path)
    (tmp_path / "dashboard.json").write_text("{}")
    with pytest.raises(Failed, match="make monitoring"):
        check_files()


def test_without_promtool_and_without_debian_the_check_says_what_it_skipped(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(prometheus, "TOOLS", tmp_path / "tools")
    assert main() == SKIPPED
    said = capsys.readouterr()
    assert "SKIPPED" in said.err and "not checked" in said.err
    assert "rules passed" not in said.out


def test_a_package_that_cannot_be_fetched_is_told_by_its_reason(monkeypatch, tmp_path):
    for name, text in (("apt-get", "echo no such host >&2; exit 100"), ("dpkg", "exit 0")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(prometheus, "TOOLS", tmp_path / "tools")
    with pytest.raises(Missing, match="apt-get download prometheus` failed: no such host"):
        had("promtool")


@pytest.mark.soak
@pytest.mark.skipif(PROMETHEUS is None, reason="no Prometheus on the PATH or in .tools: `make chart` fetches it")
def test_prometheus_answers_every_query_on_a_real_service(capsys):
    check_queries(PROMETHEUS)
    assert "17 rules loaded" in capsys.readouterr().out


@pytest.mark.skipif(PROMETHEUS is None, reason="no Prometheus on the PATH or in .tools: `make chart` fetches it")
def test_promtool_takes_the_configuration_of_compose_and_no_broken_one(monkeypatch, tmp_path, capsys):
    check_configuration(had("promtool"))
    assert "deploy/prometheus.yml passed" in capsys.readouterr().out
    broken = tmp_path / "prometheus.yml"
    broken.write_text(CONFIGURATION.read_text(encoding="utf-8").replace("scrape_configs", "scrape_config"))
    monkeypatch.setattr("monitoring.check.CONFIGURATION", broken)
    with pytest.raises(Failed, match="scrape_config not found"):
        check_configuration(had("promtool"))
