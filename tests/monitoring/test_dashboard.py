import json
from itertools import pairwise

import pytest

from monitoring.__main__ import HERE, RUNBOOKS, files
from monitoring.alerting import GROUPS
from monitoring.dashboard import written
from monitoring.panels import Curve, Panel, Row
from monitoring.promql import RATE, Unsound, View
from monitoring.registry import metrics
from monitoring.rows import ROWS

ALERTS = {alert.name for alerts in GROUPS.values() for alert in alerts}
READY = View(RATE).total(metrics.ready)


@pytest.fixture(scope="module")
def dashboard():
    return json.loads(written(ROWS, RUNBOOKS))


def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("name", files())
def test_the_files_are_what_the_metrics_make(name):
    assert (HERE / name).read_text(encoding="utf-8") == files()[name], "run `make monitoring`"


def test_what_is_asked_is_in_the_rows_that_were_asked_for(dashboard):
    assert [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"] == [
        "At a glance",
        "Traffic",
        "Latency",
        "Stages",
        "Work",
        "Saturation",
        "Cache",
        "Dependencies and collections",
        "Processes",
    ]


def test_every_panel_says_what_to_look_for_and_reads_the_chosen_source(dashboard):
    for panel in panels(dashboard):
        assert len(panel["description"]) > 20, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"]
            assert target["legendFormat"] and target["refId"]
            assert 'job=~"$job", instance=~"$instance"' in target["expr"]


def test_panels_are_numbered_once_and_do_not_overlap(dashboard):
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)
    cells = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        own = {(x + place["x"], y + place["y"]) for x in range(place["w"]) for y in range(place["h"])}
        assert max(x for x, _ in own) < 24
        assert not own & cells, panel["title"]
        cells |= own
    tops = [panel["gridPos"]["y"] for panel in dashboard["panels"]]
    assert all(above <= below for above, below in pairwise(tops))


def test_a_panel_keeps_its_number_when_another_row_grows(dashboard):
    first, *rest = ROWS
    grown = Row(first.title, [*first.panels, Panel("new", "look", "short", [Curve(READY, "ready")], width=24)])
    again = json.loads(written([grown, *rest], RUNBOOKS))
    numbers = {(panel["title"], panel["id"]) for panel in dashboard["panels"]}
    assert numbers < {(panel["title"], panel["id"]) for panel in again["panels"]}


def test_promises_are_drawn_as_lines(dashboard):
    limits = {
        panel["title"]: panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"]
        for panel in panels(dashboard)
        if panel["type"] == "timeseries"
        and panel["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] == "dashed"
    }
    assert limits["Reranking up to 100 documents"] == 0.5
    assert limits["Similarity of a pair"] == 0.1
    assert limits["Answered 5xx"] == 0.01
    assert limits["Memory of a worker"] == 2e9


def test_runbooks_are_linked_where_an_alert_is_about_the_panel(dashboard):
    urls = {link["url"] for panel in panels(dashboard) for link in panel.get("links", [])}
    assert urls == {f"{RUNBOOKS}/{name}.md" for name in ALERTS}


def test_job_instance_route_and_source_can_be_chosen(dashboard):
    variables = {one["name"]: one for one in dashboard["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "instance", "route"]
    assert variables["datasource"]["query"] == "prometheus"
    for name in ("job", "instance", "route"):
        assert variables[name]["includeAll"] and variables[name]["multi"]
        assert f", {name})" in variables[name]["query"]["query"]


def test_a_legend_shows_no_label_that_the_series_have_not():
    with pytest.raises(Unsound, match="has not that label"):
        Curve(READY, "{{route}}")
    with pytest.raises(Unsound, match="24 columns"):
        Row("half", [Panel("new", "look", "short", [], width=12)])
