"""The dashboard as Grafana 10.4 and later read it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from monitoring.panels import SOURCE, Row, built
from monitoring.promql import Metric
from monitoring.registry import WORK, metrics

_SCHEMA = 39  # Grafana 10.4's; later ones bring it up to date when they load it
_HUNDRED = 100  # panels' numbers in a row: row 2 has 200, 201, …

_ABOUT = "quantum-rerank: traffic, latency, stages, work, saturation, cache, dependencies. Made by `make monitoring`."


def written(rows: Sequence[Row], runbooks: str) -> str:
    """The dashboard's JSON, the same for the same rows. runbooks: URL of their folder."""
    made = builders.Dashboard("quantum-rerank").uid("quantum-rerank").description(_ABOUT).tags(["quantum-rerank"])
    made.refresh("30s").time("now-1h", "now").timezone("browser").tooltip(DashboardCursorSync.CROSSHAIR).readonly()
    made.link(builders.DashboardLink("Runbooks").type(DashboardLinkType.LINK).url(runbooks).target_blank(True))
    for variable in _variables():
        made.with_variable(variable)
    for place, row in enumerate(rows, 1):
        made.with_row(builders.Row(row.title).id(place * _HUNDRED))
        for number, panel in enumerate(row.panels, place * _HUNDRED + 1):
            made.with_panel(built(panel, number, runbooks))
    dashboard = made.build()
    dashboard.schema_version = _SCHEMA
    return json.dumps(_without_nulls(json.loads(JSONEncoder().encode(dashboard))), indent=2, sort_keys=True) + "\n"


def _variables() -> list[builders.DatasourceVariable | builders.QueryVariable]:
    source = builders.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    return [
        source,
        _chosen("job", metrics.build_info, ""),
        _chosen("instance", metrics.build_info, 'job=~"$job"'),
        _chosen("route", metrics.requests_total, f'job=~"$job", route!~"{WORK.expression}"'),
    ]


def _chosen(label: str, metric: Metric, where: str) -> builders.QueryVariable:
    """The values that a label has; all of them at first."""
    query = f"label_values({metric.name}{{{where}}}, {label})" if where else f"label_values({metric.name}, {label})"
    made = builders.QueryVariable(label).label(label).query({"query": query, "refId": label}).datasource(SOURCE)
    made.multi(True).include_all(True).current(VariableOption(selected=True, text="All", value="$__all"))
    return made.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)


def _without_nulls(value: object) -> object:
    """Grafana reads a null as a choice; what is left out gets its default. Thresholds' first step has to be one."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None or key == "value"}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value
