"""The plots in docs/performance.md, from runs that were saved: `python -m loadtests.plots RUN.run.json PLOT.svg`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from loadtests.figures import P95_MS, Figures, knee, memory, recovery_s, within
from loadtests.run import Run, read
from loadtests.shapes import SETTLING_S, STRESS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _ORANGE, _GREEN, _RED, _GREY = "#1f6feb", "#d9730d", "#2b8a3e", "#c92a2a", "#868e96"
_MOST_POINTS = 120  # of a line: more cannot be told apart


def draw(run: Run, path: Path) -> None:
    """Draw a run as its shape wants it; SVG."""
    {"soak": _soak, STRESS: _stress}.get(run.shape, _over_time)(run, path)


def new_figure(rows: int, title: str, x_label: str) -> tuple[Figure, list[Axes]]:
    """Plots above each other that share their x axis."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "quantum-rerank", "font.size": 10})
    figure = Figure(figsize=(9, 0.8 + 1.9 * rows), layout="constrained", facecolor="white")
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0].tolist()
    for each in axes:
        each.grid(alpha=0.25)
        each.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    axes[-1].set_xlabel(x_label)
    return figure, axes


def write(figure: Figure, path: Path) -> None:
    """Write it, the same bytes for the same figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    # Matplotlib leaves spaces at the ends of lines.
    path.write_text("\n".join(line.rstrip() for line in path.read_text("utf-8").splitlines()) + "\n", "utf-8")


def _over_time(run: Run, path: Path) -> None:
    figure, (latency, rate) = new_figure(2, f"{run.shape}: {_most(run)} users, {_told(run)}", "seconds")
    _latencies(latency, run)
    _rates(rate, run)
    write(figure, path)


def _stress(run: Run, path: Path) -> None:
    figure, (users, latency, rate) = new_figure(3, "stress: more and more users, then 50 again", "seconds")
    users.step(*zip(*run.users, strict=True), where="post", color=_GREY)
    users.set_ylim(0, 1.3 * max(number for _, number in run.users))
    users.set_ylabel("users")
    _latencies(latency, run)
    _rates(rate, run)
    found, back = knee(run, SETTLING_S), next((mark for mark in run.marks if mark.back), None)
    marks = []
    if found:
        end = next((mark.at for mark in run.marks if mark.users > found.users or mark.back), run.ended)
        marks.append((end, f"knee: {found.users} users, {found.per_second:.0f}/s", _GREEN))
    if back:
        again = recovery_s(run)
        marks.append(
            (back.at, f"back to {back.users}, {'not well' if again is None else f'well {again:.0f} s later'}", _RED)
        )
    for row, (at, text, colour) in enumerate(marks):
        for each in (users, latency, rate):
            each.axvline(at, color=colour, linestyle="--", linewidth=1)
        users.annotate(
            text,
            (at, users.get_ylim()[1]),
            (-4, -2 - 14 * row),
            textcoords="offset points",
            ha="right",
            va="top",
            color=colour,
        )
    write(figure, path)


def _soak(run: Run, path: Path) -> None:
    held = memory(run.memory)
    growth = f", {held.growth_per_hour:+.1f} MB/hour in the second half" if held else ""
    figure, (resident, latency) = new_figure(2, f"soak: {_most(run)} users{growth}", "minutes")
    minutes, megabytes = zip(*((at / 60, mb) for at, mb in run.memory), strict=True)
    resident.plot(minutes, megabytes, color=_BLUE)
    resident.set_ylim(0, 1.25 * max(megabytes))
    resident.set_ylabel("resident MB")
    _latencies(latency, run, unit_s=60)
    write(figure, path)


def _latencies(axes: Axes, run: Run, unit_s: float = 1.0) -> None:
    """p50, p95 and p99 of what was sent in each of equal parts of the run."""
    middles, found = _parts(run)
    middles = [middle / unit_s for middle in middles]
    for name, colour in (("p50_ms", _GREEN), ("p95_ms", _ORANGE), ("p99_ms", _RED)):
        values = [float("nan") if (ms := getattr(each, name)) is None else ms for each in found]
        axes.plot(middles, values, color=colour, label=name.removesuffix("_ms"), linewidth=1.3)
    axes.axhline(P95_MS, color=_GREY, linestyle=":", linewidth=1)
    axes.set_ylim(0, 1.25 * axes.get_ylim()[1])  # room for the legend
    axes.set_ylabel("ms")
    axes.legend(loc="upper right", ncols=3, frameon=False)


def _rates(axes: Axes, run: Run) -> None:
    """Answers and refusals a second."""
    middles, found = _parts(run)
    width = middles[1] - middles[0]
    axes.plot(middles, [each.per_second for each in found], color=_BLUE, label="answered/s", linewidth=1.3)
    if any(each.refused + each.failed for each in found):
        lost = [(each.refused + each.failed) / width for each in found]
        axes.plot(middles, lost, color=_RED, label="refused or failed/s", linewidth=1.3)
        axes.legend(loc="upper left", frameon=False)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("requests/s")


def _parts(run: Run) -> tuple[list[float], list[Figures]]:
    """The middles of equal parts of the run, in seconds, and what was sent in each."""
    width = max(2.0, run.ended / _MOST_POINTS)
    starts = [width * number for number in range(int(run.ended / width))]
    return [start + width / 2 for start in starts], [within(run, start, start + width) for start in starts]


def _most(run: Run) -> int:
    return max((users for _, users in run.users), default=0)


def _told(run: Run) -> str:
    whole = within(run, 0.0, run.ended)
    return f"{whole.per_second:.0f} requests/s, p95 {whole.p95_ms or 0:.0f} ms"


if __name__ == "__main__":
    draw(read(Path(sys.argv[1])), Path(sys.argv[2]))
