"""Draw the dashboard as far as that goes without Grafana: `python -m monitoring.picture docs/images/dashboard.png`.

A real service with the default model is asked for two minutes, by few clients and then by too many, while a real
Prometheus reads it every second. Places, titles, queries, legends and limits are those of monitoring/dashboard.json and
the values are Prometheus' answers; only the drawing is not Grafana's.
"""

from __future__ import annotations

import json
import math
import random
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from app.cli.index import DEMO, build_demo
from app.engine.loader import open_encoder
from app.settings import Settings
from benchmarks.server import ours
from monitoring.__main__ import HERE
from monitoring.prometheus import Prometheus, had, scraping
from monitoring.queries import chosen
from retrieval.text.demo import demo_passages

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PHASES = ((2, 50), (48, 40), (2, 30))  # clients, and for how many seconds
_STEP_S = 2
_RATE_OVER = "10s"
_COLUMNS, _INCH = 24, 0.6  # of the grid; a column's width, and a third of it the height of a line
_MOST_LEGENDS = 12


def main() -> None:
    """Draw the file that the command line names."""
    path = Path(sys.argv[1])
    with _served() as port, scraping(had("prometheus"), port, HERE / "alerts.yml") as prometheus:
        start = time.time()
        for clients, seconds in _PHASES:
            _ask(port, clients, seconds)
        draw(prometheus, start, time.time(), path)
    print(f"wrote {path}")


@contextmanager
def _served() -> Iterator[int]:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        build_demo(settings, open_encoder(settings, lambda *_: None), lambda *_: None)
        with ours(data_dir=folder, default_collection=DEMO) as server:
            yield server.port


def _ask(port: int, clients: int, seconds: float) -> None:
    """Let so many clients ask one thing after the other."""
    passages = [passage.text for passage in demo_passages()]
    end = time.monotonic() + seconds
    threads = [threading.Thread(target=_client, args=(port, number, passages, end)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _client(port: int, number: int, passages: Sequence[str], end: float) -> None:
    chance = random.Random(number)  # noqa: S311 - no secret
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        while time.monotonic() < end:
            path, body = _request(chance, passages)
            client.post(path, json=body)
            time.sleep(chance.uniform(0.1, 0.5))


def _request(chance: random.Random, passages: Sequence[str]) -> tuple[str, dict[str, object]]:
    """Three similarities, two searches and five rerankings in ten, one in ten of them of texts that are new."""
    kind, query = chance.random(), f"what is {chance.choice(passages).split()[0]}"
    if kind < 0.3:
        return "/v1/similarity", {"text1": query, "text2": chance.choice(passages)}
    if kind < 0.5:
        return "/rerank", {"query": query}
    documents = chance.sample(passages, chance.choice([5, 20, 50, 100]))
    if kind > 0.9:
        documents = [f"{chance.random()} {document}" for document in documents]
    return "/v1/rerank", {"query": query, "documents": documents, "return_documents": False}


def draw(prometheus: Prometheus, start: float, end: float, path: Path) -> None:
    """Draw the dashboard's panels from one time to another, in seconds since 1970; the file's name says how."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update({"svg.fonttype": "none", "font.size": 7})
    panels = json.loads((HERE / "dashboard.json").read_text(encoding="utf-8"))["panels"]
    lines = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = Figure(figsize=(_COLUMNS * _INCH, lines * _INCH / 3), facecolor="white")
    for panel in panels:
        place = panel["gridPos"]
        x, top = place["x"] / _COLUMNS, 1 - place["y"] / lines
        if panel["type"] == "row":
            figure.text(0.005, top - 0.7 / lines, panel["title"], fontsize=11, fontweight="bold")
            continue
        width, height = place["w"] / _COLUMNS, place["h"] / lines
        below, above = (0.35, 0.16) if panel["type"] != "stat" else (0.0, 0.45)
        inside = (x + 0.042, top - height * (1 - below), width - 0.052, height * (1 - above - below))
        axes = figure.add_axes(inside)
        axes.set_title(panel["title"], loc="left", fontsize=8)
        _fill(axes, panel, prometheus, start, end)
    figure.savefig(path, dpi=90)


def _fill(axes: Axes, panel: dict[str, Any], prometheus: Prometheus, start: float, end: float) -> None:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    found = [
        (
            _legend(target["legendFormat"], series["metric"]),
            [(float(at) - start, float(value)) for at, value in series["values"]],
        )
        for target in panel["targets"]
        for series in prometheus.ask_range(chosen(target["expr"], _RATE_OVER), start, end, _STEP_S)
    ]
    if panel["type"] == "stat":
        axes.axis("off")
        text = _told(found[0][1][-1][1], unit) if found else "none"
        axes.text(0, 0.5, text, fontsize=20, color="#2b8a3e", va="center")
        return
    axes.set_xlim(0, end - start)
    axes.yaxis.set_major_formatter(lambda value, _: _told(value, unit))
    if not found:
        axes.text(0.5, 0.5, "none", ha="center", va="center", transform=axes.transAxes, color="#868e96")
    elif panel["type"] == "heatmap":
        _heat(axes, found, unit)
    else:
        _lines(axes, panel, found)


def _lines(axes: Axes, panel: dict[str, Any], found: list[tuple[str, list[tuple[float, float]]]]) -> None:
    custom = panel["fieldConfig"]["defaults"]["custom"]
    if custom.get("stacking", {}).get("mode") == "normal":
        times = sorted({at for _, points in found for at, _ in points})
        heights = [[dict(points).get(at, 0.0) for at in times] for _, points in found]
        axes.stackplot(times, heights, labels=[name for name, _ in found], alpha=0.7)
    else:
        for name, points in found:
            axes.plot(*zip(*points, strict=True), label=name, linewidth=1)
    if custom["thresholdsStyle"]["mode"] == "dashed":
        axes.axhline(
            panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"], color="#c92a2a", ls="--", lw=0.8
        )
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[:_MOST_LEGENDS], labels[:_MOST_LEGENDS], ncols=4, loc="upper left", frameon=False, fontsize=6,
                bbox_to_anchor=(-0.02, -0.17), columnspacing=1, handlelength=1)  # fmt: skip


def _heat(axes: Axes, found: list[tuple[str, list[tuple[float, float]]]], unit: str) -> None:
    """Buckets are cumulative: each row is what its bucket has beyond the one below."""
    rows = sorted(((float(bound), dict(points)) for bound, points in found), key=lambda row: row[0])
    times = sorted({at for _, points in rows for at in points})
    below = dict.fromkeys(times, 0.0)
    cells = []
    for _, points in rows:
        cells.append([max(0.0, points.get(at, 0.0) - below[at]) for at in times])
        below = {at: points.get(at, 0.0) for at in times}
    axes.pcolormesh(times, range(len(rows)), cells, cmap="Oranges", shading="nearest", rasterized=True)
    axes.set_yticks(range(len(rows)), [_told(bound, unit) for bound, _ in rows], fontsize=5)


def _legend(template: str, labels: dict[str, str]) -> str:
    name = re.sub(r"{{\s*(\w+)\s*}}", lambda found: labels.get(found[1], ""), template)
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1", name)  # which port it was is chance


_UNITS = {"s": (1000.0, " ms"), "percentunit": (100.0, " %"), "decbytes": (1e-6, " MB"), "bytes": (2**-20, " MiB")}


def _told(value: float, unit: str) -> str:
    scale, name = _UNITS.get(unit, (1.0, ""))
    scaled = value * scale
    return f"{scaled:.0f}{name}" if 100 <= scaled < math.inf else f"{scaled:.3g}{name}"


if __name__ == "__main__":
    main()
