"""Every query of the dashboard and of the rules, as Prometheus can be asked it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from monitoring.alerting import GROUPS
from monitoring.promql import RATE
from monitoring.registry import WORK
from monitoring.rows import ROWS


@dataclass(frozen=True)
class Asked:
    """A query, and whose it is."""

    whose: str
    text: str
    idle: bool  # whether it may be empty although the service is used


def of_the_dashboard(over: str = "1m") -> Iterator[Asked]:
    """Its panels' queries with everything chosen. over: how far back rates look."""
    for row in ROWS:
        for panel in row.panels:
            for curve in panel.curves:
                yield Asked(f"{row.title}: {panel.title}", chosen(str(curve.query), over), curve.idle)


def chosen(text: str, over: str) -> str:
    """A query as Grafana asks it with all jobs, instances and routes chosen. over: how far back rates look."""
    for variable in ("$job", "$instance"):
        text = text.replace(variable, ".+")
    return text.replace('=~"$route"', f'!~"{WORK.expression}"').replace(RATE, over)


def of_the_rules() -> Iterator[Asked]:
    """The alerts' expressions, which are empty when all is well."""
    for alerts in GROUPS.values():
        for alert in alerts:
            yield Asked(alert.name, str(alert.when), idle=True)
