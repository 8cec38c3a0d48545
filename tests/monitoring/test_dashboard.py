import json
import re

import pytest

from app.api.dialects.detect import PATHS
from app.health.targets import MEMORY_BYTES, RERANK_MS, SIMILARITY_MS
from app.settings import EngineSettings
from monitoring.__main__ import OUT, RUNBOOKS, files, main
from monitoring.dashboard import dashboard
from monitoring.rows import ALERTS, DASHBOARD, ROWS, rules
from tests.monitoring.asked import grouped

WRITTEN = json.loads(dashboard(ROWS, RUNBOOKS))
PANELS = [panel for panel in WRITTEN["panels"] if panel["type"] != "row"]


def test_the_committed_dashboard_is_what_the_metrics_make():
    assert DASHBOARD.read_text(encoding="utf-8") == files()["dashboard.json"], "run `make monitoring`"
    assert files()["alerts.yml"] == ALERTS.read_text(encoding="utf-8")


def test_the_runbooks_may_be_anywhere(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    main("https://wiki/r/")
    written = {path.name: path.read_text(encoding="utf-8") for path in OUT.iterdir()}
    assert set(written) == {"alerts.yml", "dashboard.json"}
    for text in written.values():
        links = set(re.findall(r"https://[^\"'\s]+\.md", text))
        assert links == {f"https://wiki/r/{rule['alert']}.md" for rule in rules()}


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_panel_says_what_to_look_for_and_reads_the_chosen_source(panel):
    assert len(panel["description"]) > 20
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"]
        assert 'job=~"$job", instance=~"$instance"' in target["expr"]
        shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        assert shown <= set.union(*(labels for labels, _ in grouped(target["expr"].replace("$__rate_interval", "1m"))))


def test_panels_fill_their_rows_and_are_numbered_once():
    panels = WRITTEN["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    cells = [(at["x"] + x, at["y"] + y) for at in places for x in range(at["w"]) for y in range(at["h"])]
    assert len(set(cells)) == len(cells) == 24 * (1 + max(y for _, y in cells))


def test_promises_are_drawn_and_runbooks_linked():
    limits = {
        panel["title"]: panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1].get("value") for panel in PANELS
    }
    assert limits["Reranking up to 100 documents"] == RERANK_MS / 1000
    assert limits["Similarity of a pair"] == SIMILARITY_MS / 1000
    assert limits["Answered 5xx"] == 0.01
    assert limits["Memory of a worker"] == MEMORY_BYTES
    assert limits["Running and waiting"] == EngineSettings().queue_requests / 4
    (expr, *_) = (one["expr"] for panel in PANELS for one in panel["targets"] if panel["title"].startswith("Reranking"))
    assert f'route=~"{"|".join(PATHS)}"' in expr
    urls = {link["url"] for panel in PANELS for link in panel.get("links", [])}
    assert urls == {rule["annotations"]["runbook_url"] for rule in rules()}
