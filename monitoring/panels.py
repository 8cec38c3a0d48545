"""What a dashboard is made of, and how Grafana writes it down."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from grafana_foundation_sdk.builders import common, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    GraphThresholdsStyleMode,
    HeatmapCellLayout,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from monitoring.promql import Query, Unsound

SOURCE = DataSourceRef("prometheus", "${datasource}")

_GRID = 24


@dataclass(frozen=True)
class Curve:
    """A query, and what its series are called."""

    query: Query
    legend: str
    idle: bool = False  # whether it may be empty although the service is used

    def __post_init__(self) -> None:
        """Unsound if the legend shows a label that the series have not."""
        for label in re.findall(r"{{\s*(\w+)\s*}}", self.legend):
            if label not in self.query.labels and label != "le":
                raise Unsound(f"the legend {self.legend!r} shows {label}, and {self.query} has not that label")


@dataclass(frozen=True)
class Panel:
    """One picture."""

    title: str
    look: str  # for what whoever sees it should look
    unit: str  # Grafana's name of it
    curves: Sequence[Curve]
    kind: Literal["lines", "stacked", "heatmap", "number"] = "lines"
    limit: float | None = None  # what should stay below it
    least: float | None = None  # what should stay above it
    alerts: Sequence[str] = ()  # whose runbooks belong to it
    width: int = 8
    height: int = 8


@dataclass(frozen=True)
class Row:
    """Pictures about one matter."""

    title: str
    panels: Sequence[Panel]

    def __post_init__(self) -> None:
        """Unsound if the panels do not fill lines of the grid, which Grafana would then shift."""
        if sum(panel.width for panel in self.panels) % _GRID:
            raise Unsound(f"the widths of the row {self.title} do not fill {_GRID} columns")


Built = timeseries.Panel | heatmap.Panel | stat.Panel


def built(panel: Panel, number: int, runbooks: str) -> Built:
    """Grafana's panel. number: the id, which stays the same for links. runbooks: URL of their folder."""
    made: Built = _BY_KIND[panel.kind](panel)
    made.id(number).title(panel.title).description(panel.look).datasource(SOURCE).unit(panel.unit)
    made.height(panel.height).span(panel.width).thresholds(_thresholds(panel)).min(0).no_value("none")
    made.links([_link(alert, runbooks) for alert in panel.alerts])
    for letter, curve in zip("ABCDEFGH", panel.curves, strict=False):
        made.with_target(_target(curve, panel).ref_id(letter))
    return made


def _target(curve: Curve, panel: Panel) -> prometheus.Dataquery:
    kind = PromQueryFormat.HEATMAP if panel.kind == "heatmap" else PromQueryFormat.TIME_SERIES
    target = prometheus.Dataquery().expr(str(curve.query)).legend_format(curve.legend).format(kind)
    return target.datasource(SOURCE).instant() if panel.kind == "number" else target.datasource(SOURCE).range()


def _link(alert: str, runbooks: str) -> builders.DashboardLink:
    link = builders.DashboardLink(f"runbook: {alert}").type(DashboardLinkType.LINK)
    return link.url(f"{runbooks}/{alert}.md").target_blank(True)


def _thresholds(panel: Panel) -> builders.ThresholdsConfig:
    """Green where all is well, red where it is not."""
    steps = [Threshold(None, "green")]
    if panel.limit is not None:
        steps.append(Threshold(panel.limit, "red"))
    if panel.least is not None:
        steps = [Threshold(None, "red"), Threshold(panel.least, "green")]
    return builders.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _lines(panel: Panel) -> timeseries.Panel:
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.TABLE).placement(LegendPlacement.BOTTOM)
    tooltip = common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
    made = timeseries.Panel().legend(legend.show_legend(True).calcs(["lastNotNull", "max"])).tooltip(tooltip)
    bounded = panel.limit is not None or panel.least is not None
    style = GraphThresholdsStyleMode.DASHED if bounded else GraphThresholdsStyleMode.OFF
    made.thresholds_style(common.GraphThresholdsStyleConfig().mode(style))
    return made.line_width(1).fill_opacity(0).axis_soft_min(0)


def _stacked(panel: Panel) -> timeseries.Panel:
    return _lines(panel).fill_opacity(40).stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))


def _heatmap(panel: Panel) -> heatmap.Panel:
    color = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    axis = heatmap.YAxisConfig().unit(panel.unit)
    rows = heatmap.RowsHeatmapOptions().layout(HeatmapCellLayout.LE)
    return heatmap.Panel().calculate(False).rows_frame(rows).color(color).y_axis(axis).mode(TooltipDisplayMode.SINGLE)


def _number(panel: Panel) -> stat.Panel:  # noqa: ARG001 - like the others
    made = stat.Panel().color_mode(BigValueColorMode.VALUE)
    return made.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))


_BY_KIND: Mapping[str, Callable[[Panel], Built]] = {
    "lines": _lines,
    "stacked": _stacked,
    "heatmap": _heatmap,
    "number": _number,
}
