"""Tests of the rules for promtool: each alert when it must fire, one minute before, and when it must never."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from monitoring.alerts import Alert, yaml_of
from monitoring.promql import Unsound
from monitoring.registry import JOB
from monitoring.series import INSTANCE, Series

_LONG = 10  # minutes after which a condition that does not hold never will


@dataclass(frozen=True)
class Fires:
    """What makes an alert fire."""

    because: str
    series: Series
    value: str = ""  # as the description shows it
    begins: int = 0  # the minute from which on the condition holds
    labels: Mapping[str, str] = field(default_factory=dict)  # but for the job


@dataclass(frozen=True)
class Rests:
    """What must not make it fire."""

    because: str
    series: Series
    until: int = _LONG  # minutes


@dataclass(frozen=True)
class Scenario:
    """What is tried of one alert."""

    fires: Sequence[Fires]
    rests: Sequence[Rests]


ONE = {"instance": INSTANCE}  # labels of alerts that look at every process


def written(groups: Mapping[str, list[Alert]], scenarios: Mapping[str, Scenario], runbooks: str) -> str:
    """The tests' YAML. Unsound unless every alert has its scenario, and it fires and rests in it."""
    alerts = {alert.name: alert for group in groups.values() for alert in group}
    if set(alerts) != set(scenarios):
        raise Unsound(f"alerts and scenarios differ: {', '.join(sorted(set(alerts) ^ set(scenarios)))}")
    tests: list[Mapping[str, object]] = []
    for name, alert in alerts.items():
        scenario = scenarios[name]
        if not (scenario.fires and scenario.rests):
            raise Unsound(f"{name} is not tried both ways")
        tests += [_firing(alert, case, runbooks) for case in scenario.fires]
        tests += [_resting(alert, case) for case in scenario.rests]
    return yaml_of({"rule_files": ["alerts.yml"], "evaluation_interval": "1m", "tests": tests})


def _firing(alert: Alert, case: Fires, runbooks: str) -> Mapping[str, object]:
    """It must not fire one minute before it has held long enough, and must then."""
    labels = {"job": JOB, **case.labels}
    rule = alert.rule(runbooks)
    expected = {
        "exp_labels": {"severity": alert.severity, **labels},
        "exp_annotations": {
            "summary": _rendered(alert.summary, labels, case.value),
            "description": _rendered(alert.description, labels, case.value),
            "runbook_url": f"{runbooks}/{alert.name}.md",
        },
    }
    due = case.begins + alert.minutes
    early = {"eval_time": f"{due - 1}m", "alertname": alert.name, "exp_alerts": []}
    late = {"eval_time": f"{due}m", "alertname": rule["alert"], "exp_alerts": [expected]}
    return _test(f"{alert.name} fires: {case.because}", case.series, [early, late])


def _resting(alert: Alert, case: Rests) -> Mapping[str, object]:
    looks = [
        {"eval_time": f"{minute}m", "alertname": alert.name, "exp_alerts": []}
        for minute in range(alert.minutes, case.until + alert.minutes + 1)
    ]
    return _test(f"{alert.name} rests: {case.because}", case.series, looks)


def _test(name: str, series: Series, looks: Sequence[Mapping[str, object]]) -> Mapping[str, object]:
    read = [{"series": one, "values": values} for one, values in series.items()]
    return {"name": name, "interval": "1m", "input_series": read, "alert_rule_test": list(looks)}


def _rendered(template: str, labels: Mapping[str, str], value: str) -> str:
    """A template as Prometheus fills it in, for a value that is shown like this."""

    def shown(found: re.Match[str]) -> str:
        label = re.fullmatch(r"\$labels\.(\w+)", found[1])
        return labels[label[1]] if label else value

    return re.sub(r"{{\s*(.*?)\s*}}", shown, template)
