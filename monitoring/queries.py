"""Every query of the dashboard and of the alert rules, as Prometheus can be asked it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from monitoring.promql import RATE, ROUTE, WORK
from monitoring.rows import ROWS

FILES = Path(__file__).parents[1] / "helm" / "quantum-rerank" / "files"  # Helm reads no file outside the chart
ALERTS, DASHBOARD = FILES / "alerts.yml", FILES / "dashboard.json"
JOB = "quantum-rerank"  # what Prometheus has to call the service when it scrapes it


@dataclass(frozen=True)
class Query:
    """A query, whose it is, and whether it may be empty although the service is used."""

    owner: str
    text: str
    idle: bool


def rules() -> list[dict[str, Any]]:
    """The alert rules, as they are written."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def of_the_dashboard(over: str = "1m") -> Iterator[Query]:
    """Its panels' queries with all jobs, instances and routes chosen. over: how far back rates look."""
    for title, panels in ROWS.items():
        for panel in panels:
            for query in panel.curves.values():
                chosen = query.replace("$job", ".+").replace("$instance", ".+").replace(ROUTE, WORK).replace(RATE, over)
                yield Query(f"{title}: {panel.title}", chosen, panel.idle)


def of_the_rules() -> Iterator[Query]:
    """The alerts' expressions, which are empty when all is well."""
    for rule in rules():
        yield Query(rule["alert"], rule["expr"], idle=True)
