"""All queries of the dashboard and the alert rules, in a form that Prometheus accepts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from monitoring.rows import RATE, ROUTE, ROWS, WORK

FILES = Path(__file__).parents[1] / "helm" / "quantum-rerank" / "files"  # Helm cannot read files outside the chart
ALERTS, DASHBOARD = FILES / "alerts.yml", FILES / "dashboard.json"


@dataclass(frozen=True)
class Query:
    """A query with its owner."""

    owner: str
    text: str


def rules() -> list[dict[str, Any]]:
    """The alert rules as they are in the file."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def of_the_dashboard() -> Iterator[Query]:
    """The panels' queries with all jobs, instances and routes selected, and rates over a minute."""
    for title, panels in ROWS.items():
        for panel in panels:
            for query in panel.curves.values():
                chosen = query.replace("$job", ".+").replace("$instance", ".+").replace(ROUTE, WORK).replace(RATE, "1m")
                yield Query(f"{title}: {panel.title}", chosen)
