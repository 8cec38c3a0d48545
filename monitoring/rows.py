"""The rows of the dashboard (`rows.yml`, read), the alert rules, and the queries of both.

Queries of `rows.yml` are PromQL without the range of a rate and without the jobs and instances that are chosen on the
dashboard, since all have them. Matchers that several have in common stand in angle brackets, by their names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FILES = Path(__file__).parents[1] / "helm" / "quantum-rerank" / "files"  # Helm cannot read files outside the chart
ALERTS, DASHBOARD = FILES / "alerts.yml", FILES / "dashboard.json"
RATE = "$__rate_interval"  # Grafana's variable: long enough for a rate at the panel's resolution
CHOSEN = 'job=~"$job", instance=~"$instance"'  # as selected on the dashboard
_FILE: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
WORK, ROUTE = _FILE["where"]["work"], _FILE["where"]["chosen"]
_SERIES = re.compile(r"(?P<rated>(?:rate|increase)\()?(?P<name>qrerank_\w+)(?:{(?P<where>.*?)})?")


@dataclass(frozen=True)
class Panel:
    """One panel."""

    title: str
    look: str  # its description: what to look for
    kind: str  # lines, stacked, heatmap or number
    unit: str  # by Grafana's name
    curves: Mapping[str, str]  # legend → query
    limit: float | None = None  # values should be below
    least: float | None = None  # values should be at or above
    alerts: Sequence[str] = ()  # whose runbooks it links to


@dataclass(frozen=True)
class Query:
    """A query with its owner."""

    owner: str
    text: str


def promql(query: str) -> str:
    """A query of the file as Grafana sends it."""
    for name, matchers in _FILE["where"].items():
        query = query.replace(f"<{name}>", matchers)
    return _SERIES.sub(_series, query)


def _series(found: re.Match[str]) -> str:
    matchers = ", ".join(filter(None, (CHOSEN, found["where"])))
    return f"{found['rated'] or ''}{found['name']}{{{matchers}}}{f'[{RATE}]' if found['rated'] else ''}"


def _panel(
    title: str, shown: str, curves: Mapping[str, str] | None = None, percentiles: str = "", **others: Any
) -> Panel:
    kind, unit = shown.split()
    quantiles = {f"p{q}": f"histogram_quantile({q / 100:g}, sum by (le) (rate({percentiles})))" for q in (50, 95, 99)}
    made = {legend: promql(query) for legend, query in (curves or quantiles).items()}
    return Panel(title, kind=kind, unit=unit, curves=made, **others)


ROWS = {row: [_panel(title, **fields) for title, fields in panels.items()] for row, panels in _FILE["rows"].items()}


def rules() -> list[dict[str, Any]]:
    """The alert rules as they are in the file."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def of_the_dashboard() -> Iterator[Query]:
    """The panels' queries as Prometheus accepts them: all jobs, instances and routes selected, rates over a minute."""
    for title, panels in ROWS.items():
        for panel in panels:
            for query in panel.curves.values():
                chosen = query.replace("$job", ".+").replace("$instance", ".+").replace(ROUTE, WORK).replace(RATE, "1m")
                yield Query(f"{title}: {panel.title}", chosen)
