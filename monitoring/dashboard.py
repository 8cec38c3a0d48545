"""The dashboard for Grafana 10.4 and later, built with Grafana's foundation SDK."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from grafana_foundation_sdk.builders import common, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from monitoring.rows import WORK, Panel

_SOURCE = models.DataSourceRef("prometheus", "${datasource}")
_SCHEMA = 39  # Grafana 10.4's; later versions migrate it on load
_IDS_PER_ROW = 100  # panel ids: row 2 has 200, 201, …
_ABOUT = "quantum-rerank: traffic, latency, stages, work, saturation, cache, dependencies. Made by `make monitoring`."


_Built = timeseries.Panel | heatmap.Panel | stat.Panel


def dashboard(rows: Mapping[str, Sequence[Panel]], runbooks: str) -> str:
    """The dashboard's JSON; deterministic. runbooks: URL of their folder."""
    made = builders.Dashboard("quantum-rerank").uid("quantum-rerank").description(_ABOUT).tags(["quantum-rerank"])
    made.refresh("30s").time("now-1h", "now").timezone("browser").tooltip(
        models.DashboardCursorSync.CROSSHAIR
    ).readonly()
    made.link(builders.DashboardLink("Runbooks").type(models.DashboardLinkType.LINK).url(runbooks).target_blank(True))
    made.with_variable(builders.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    for label, where in (
        ("job", "qrerank_build_info"),
        ("instance", 'qrerank_build_info{job=~"$job"}'),
        ("route", f'qrerank_requests_total{{job=~"$job", {WORK}}}'),
    ):
        made.with_variable(_variable(label, f"label_values({where}, {label})"))
    for place, (title, panels) in enumerate(rows.items(), 1):
        made.with_row(builders.Row(title).id(place * _IDS_PER_ROW))
        for number, panel in enumerate(panels, place * _IDS_PER_ROW + 1):
            made.with_panel(_panel(panel, number, runbooks))
    built = made.build()
    built.schema_version = _SCHEMA
    return json.dumps(_without_nulls(json.loads(JSONEncoder().encode(built))), indent=2, sort_keys=True) + "\n"


def _variable(label: str, query: str) -> builders.QueryVariable:
    """A dashboard variable with a label's values; all are selected initially."""
    made = builders.QueryVariable(label).label(label).query({"query": query, "refId": label}).datasource(_SOURCE)
    made.multi(True).include_all(True).current(models.VariableOption(selected=True, text="All", value="$__all"))
    return made.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.ALPHABETICAL_ASC)


def _panel(panel: Panel, number: int, runbooks: str) -> _Built:
    """Grafana's panel. number: its id, which links refer to."""
    made: _Built = _BY_KIND[panel.kind](panel)
    size = 4 if panel.kind == "number" else 8
    made.id(number).title(panel.title).description(panel.look).datasource(_SOURCE).unit(panel.unit)
    made.height(size).span(size).thresholds(_thresholds(panel)).min(0).no_value("none")
    links = [builders.DashboardLink(f"runbook: {alert}").url(f"{runbooks}/{alert}.md") for alert in panel.alerts]
    made.links([link.type(models.DashboardLinkType.LINK).target_blank(True) for link in links])
    form = PromQueryFormat.HEATMAP if panel.kind == "heatmap" else PromQueryFormat.TIME_SERIES
    for letter, (legend, query) in zip("ABCDEFGH", panel.curves.items(), strict=False):
        target = prometheus.Dataquery().expr(query).legend_format(legend).format(form).datasource(_SOURCE)
        made.with_target((target.instant() if panel.kind == "number" else target.range()).ref_id(letter))
    return made


def _thresholds(panel: Panel) -> builders.ThresholdsConfig:
    """Green within the limits, red outside."""
    steps = [models.Threshold(None, "green")]
    if panel.limit is not None:
        steps.append(models.Threshold(panel.limit, "red"))
    if panel.least is not None:
        steps = [models.Threshold(None, "red"), models.Threshold(panel.least, "green")]
    return builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _lines(panel: Panel) -> timeseries.Panel:
    legend = (
        common.VizLegendOptions().display_mode(looks.LegendDisplayMode.TABLE).placement(looks.LegendPlacement.BOTTOM)
    )
    tooltip = common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI).sort(looks.SortOrder.DESCENDING)
    made = timeseries.Panel().legend(legend.show_legend(True).calcs(["lastNotNull", "max"])).tooltip(tooltip)
    bounded = panel.limit is not None or panel.least is not None
    style = looks.GraphThresholdsStyleMode.DASHED if bounded else looks.GraphThresholdsStyleMode.OFF
    made.thresholds_style(common.GraphThresholdsStyleConfig().mode(style))
    return made.line_width(1).fill_opacity(0).axis_soft_min(0)


def _stacked(panel: Panel) -> timeseries.Panel:
    return _lines(panel).fill_opacity(40).stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL).group("A"))


def _heatmap(panel: Panel) -> heatmap.Panel:
    color = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    axis = heatmap.YAxisConfig().unit(panel.unit)
    rows = heatmap.RowsHeatmapOptions().layout(looks.HeatmapCellLayout.LE)
    return (
        heatmap.Panel()
        .calculate(False)
        .rows_frame(rows)
        .color(color)
        .y_axis(axis)
        .mode(looks.TooltipDisplayMode.SINGLE)
    )


def _number(panel: Panel) -> stat.Panel:  # noqa: ARG001 - same signature as the others
    made = stat.Panel().color_mode(looks.BigValueColorMode.VALUE)
    return made.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))


_BY_KIND: Mapping[str, Callable[[Panel], _Built]] = {
    "lines": _lines,
    "stacked": _stacked,
    "heatmap": _heatmap,
    "number": _number,
}


def _without_nulls(value: object) -> object:
    """Remove nulls: Grafana uses defaults only for missing fields. The first threshold's value must stay null."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None or key == "value"}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value
