"""The rules, held to promtool where it is at hand (`make chart` fetches it)."""

import re

import pytest
import yaml

from monitoring.__main__ import HERE, files
from monitoring.alerting import GROUPS
from monitoring.alerts import Alert
from monitoring.cases import Fires, Rests, Scenario, written
from monitoring.check import Failed, check_rules
from monitoring.prometheus import found, told
from monitoring.promql import Unsound, View
from monitoring.registry import JOB, metrics
from monitoring.scenarios import SCENARIOS
from monitoring.series import growing, series, spread

PROMTOOL = found("promtool")
with_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="no promtool on the PATH or in .tools: `make chart` fetches it"
)

RULES = [rule for group in yaml.safe_load(files()["alerts.yml"])["groups"] for rule in group["rules"]]
TESTS = yaml.safe_load(files()["alerts_test.yml"])["tests"]

READY = View("1m", by=("job",)).total(metrics.ready)


def alert(**other):
    texts = {"summary": "{{ $labels.job }} rests", "description": "{{ $value }} is too few"}
    return Alert(**{"name": "Low", "severity": "warning", "when": READY < 2, "minutes": 3} | texts | other)


@with_promtool
def test_promtool_takes_the_rules_and_every_case_holds(capsys):
    check_rules(PROMTOOL)
    said = capsys.readouterr().out
    assert f"{len(RULES)} rules passed" in said
    assert f"{len(TESTS)} cases passed" in said


def tried(folder, alert, scenario):
    """What promtool says of one rule and its cases."""
    from monitoring import alerts

    groups = {"tried": [alert]}
    (folder / "alerts.yml").write_text(alerts.written(groups, "https://x"))
    (folder / "alerts_test.yml").write_text(written(groups, {alert.name: scenario}, "https://x"))
    return told(PROMTOOL, "test", "rules", "alerts_test.yml", folder=folder)


@with_promtool
def test_cases_fail_when_the_rule_is_wrong(tmp_path):
    low, high = series(metrics.ready, "1+0x60"), series(metrics.ready, "2+0x60")
    scenario = Scenario([Fires("one is", low, "1")], [Rests("two are", high)])
    status, said = tried(tmp_path, alert(), scenario)
    assert status == 0, said
    for wrong in (
        alert(when=READY < 1),  # never
        alert(when=READY < 3),  # always
        alert(minutes=2),  # too soon, if the cases are of another: see below
    ):
        again = scenario if wrong.minutes == 3 else Scenario([Fires("one is", low, "1", begins=1)], [Rests("no", high)])
        assert tried(tmp_path, wrong, again)[0] == 1
    assert (
        tried(
            tmp_path,
            alert(description="{{ $value }}0"),
            Scenario([Fires("one is", low, "2")], [Rests("two are", high)]),
        )[0]
        == 1
    )


@with_promtool
def test_check_says_what_promtool_said(monkeypatch, tmp_path):
    monkeypatch.setattr("monitoring.check.HERE", tmp_path)
    (tmp_path / "alerts.yml").write_text("groups: [{name: a, rules: [{alert: A, expr: 'sum('}]}]")
    with pytest.raises(Failed, match="unclosed left parenthesis"):
        check_rules(PROMTOOL)


def test_every_alert_fires_and_rests_in_a_case():
    names = {rule["alert"] for rule in RULES}
    assert set(SCENARIOS) == names
    fired = {look["alertname"] for test in TESTS for look in test["alert_rule_test"] if look["exp_alerts"]}
    rested = {look["alertname"] for test in TESTS if " rests: " in test["name"] for look in test["alert_rule_test"]}
    assert fired == rested == names


def test_a_firing_case_looks_one_minute_before_too():
    minutes = {rule["alert"]: int(rule["for"].removesuffix("m")) for rule in RULES}
    for test in TESTS:
        if " fires: " in test["name"]:
            early, late = test["alert_rule_test"]
            assert not early["exp_alerts"]
            assert int(late["eval_time"][:-1]) - int(early["eval_time"][:-1]) == 1
            assert int(late["eval_time"][:-1]) >= minutes[late["alertname"]] >= 1


def test_every_alert_tells_how_bad_what_where_and_what_to_do():
    for rule in RULES:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        told = rule["annotations"]
        assert told["runbook_url"].endswith(f"/runbooks/{rule['alert']}.md")
        assert "$labels." in told["summary"] and "$value" not in told["summary"]  # which groups alerts
        assert len(told["description"]) > 30


def test_the_alerts_asked_for_are_there():
    assert [alert.name for alerts in GROUPS.values() for alert in alerts] == [rule["alert"] for rule in RULES]
    text = files()["alerts.yml"]
    for one in ('status=~"5.."', "> 0.5", "> 0.1", "requests_waiting", "> 2000000000", "index_certified", "cache_hits"):
        assert one in text
    for dependency in ("cache_redis", "quota_redis", "keys", "issuer"):
        assert f'breaker_open{{dependency="{dependency}"}}' in text
    assert f'up{{job="{JOB}"}}' in text


def test_texts_show_no_label_that_the_series_have_not():
    with pytest.raises(Unsound, match="tells of instance"):
        alert(summary="{{ $labels.instance }} is down")


def test_an_alert_without_a_case_cannot_be_written():
    groups = {"tried": [alert()]}
    with pytest.raises(Unsound, match="Low"):
        written(groups, {}, "https://x")
    with pytest.raises(Unsound, match="both ways"):
        written(groups, {"Low": Scenario([], [Rests("so", {})])}, "https://x")


def test_series_have_all_labels_and_only_those():
    (name,) = series(metrics.requests_total, "1", status="500")
    assert re.findall(r"(\w+)=", name) == [
        *("job", "dialect", "http_method", "instance", "method", "route", "tier", "status")
    ]
    with pytest.raises(Unsound, match="no label outcome"):
        series(metrics.requests_total, "1", outcome="ok")
    buckets = spread(metrics.event_loop_lag_seconds, {"0.1": 98, "0.25": 2})
    assert list(buckets.values()) == [growing(98), growing(100), growing(100)]
    assert 'le="+Inf"' in list(buckets)[-1]


def test_the_files_lie_where_the_tests_of_the_rules_look_for_them():
    assert yaml.safe_load(files()["alerts_test.yml"])["rule_files"] == ["alerts.yml"]
    assert (HERE / "alerts.yml").is_file()
