import json
import re

from monitoring.__main__ import HERE
from monitoring.picture import draw

START, END = 1000.0, 1004.0
ROUTES = ("/a", "/b")


class Answers:
    """Gives every query two series, but for breakers; with buckets where those are asked for."""

    def __init__(self):
        self.asked = []

    def ask_range(self, query, start, end, step):
        assert (start, end) == (START, END) and step > 0
        self.asked.append(query)
        if "breaker_open" in query:
            return []
        label, values = ("le", ("0.1", "+Inf")) if re.match(r"sum by \(le", query) else ("route", ROUTES)
        points = [[at, str(at - START + 0.5)] for at in (START, START + 2, END)]
        return [{"metric": {label: value}, "values": points} for value in values]


def test_every_panel_is_drawn_with_its_title_and_legend(tmp_path):
    prometheus, path = Answers(), tmp_path / "picture.svg"
    draw(prometheus, START, END, path)
    text = path.read_text()
    panels = json.loads((HERE / "dashboard.json").read_text())["panels"]
    for panel in panels:
        assert f">{panel['title']}</text>" in text, panel["title"]
    assert "/a" in text
    assert text.count(">none</text>") == 2
    assert len(prometheus.asked) == sum(len(panel.get("targets", [])) for panel in panels)
    assert not any("$" in query for query in prometheus.asked)
