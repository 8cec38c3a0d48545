"""Plots of an evaluation, as matplotlib's figures; of the extra `draw`."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from app.cli.errors import naming
from app.cli.results import NDCG, Evaluation, Scores
from app.telemetry.printable import escaped

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999")  # Okabe & Ito
INK = "#123456"  # lines and letters in an SVG, in place of which the page's own colour is put
_PAPER_INK = "#222222"
_Z = 1.96  # standard errors of a 95 % interval
_MARKS = "osD^v"  # of rows with the same colour
_WIDTH = 7.5  # inches
_SHARED = 80  # per cent of the room of a collection that its rows take


def overview(results: Sequence[Evaluation]) -> Figure:
    """The nDCG@10 of every row on every collection, with the 95 % interval of the mean over its queries."""
    rows = list(dict.fromkeys(name for result in results for name in result.methods))
    figure = Figure((_WIDTH, 0.7 + len(results) * max(0.4, 0.16 * len(rows))), layout="constrained")
    axes = figure.subplots()
    for at, name in enumerate(rows):
        held = [(place, result.methods[name]) for place, result in enumerate(results) if name in result.methods]
        places = [place + _SHARED / 100 * (at / max(1, len(rows) - 1) - 0.5) * (len(rows) > 1) for place, _ in held]
        errors = [_Z * _standard_error(scores) for _, scores in held]
        means, colour = [scores.ndcg for _, scores in held], _COLOURS[at % len(_COLOURS)]
        mark = _MARKS[at // len(_COLOURS) % len(_MARKS)]
        axes.errorbar(means, places, xerr=errors, fmt=mark, markersize=4, color=colour, label=escaped(name))
    axes.set_yticks(range(len(results)), [escaped(result.dataset) for result in results])
    axes.invert_yaxis()
    axes.set_xlabel("nDCG@10, and the 95 % interval of its mean over the queries")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=min(5, len(rows)), frameon=False)
    return figure


def differences(result: Evaluation) -> Figure | None:
    """For each row, the difference to the baseline by query, sorted; None if nothing is compared."""
    compared = [each for each in result.paired if each.other == result.baseline]
    if not compared:
        return None
    columns = min(3, len(compared))
    lines = -(-len(compared) // columns)
    figure = Figure((_WIDTH, 0.4 + 1.9 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    base = result.methods[result.baseline].by_query[NDCG]
    for panel, each in zip(panels, compared, strict=False):
        _sorted_bars(panel, result.methods[each.one].by_query[NDCG] - base)
        panel.set_title(f"{escaped(each.one)}: {each.better} better, {each.worse} worse", fontsize="small")
    for panel in panels[len(compared) - columns : len(compared)]:
        panel.tick_params(labelbottom=True)  # also where the line below is not full
    for panel in panels[len(compared) :]:
        panel.set_visible(False)
    figure.supxlabel("queries, from the most gained to the most lost", fontsize="small")
    figure.supylabel(f"nDCG@10 less {escaped(result.baseline)}'s", fontsize="small")
    return figure


def _sorted_bars(axes: Axes, values: NDArray[np.float64]) -> None:
    falling = np.sort(values)[::-1]
    at = np.arange(len(falling))
    axes.bar(at[falling > 0], falling[falling > 0], width=1.0, color=_COLOURS[0])
    axes.bar(at[falling < 0], falling[falling < 0], width=1.0, color=_COLOURS[1])
    ink = mpl.rcParams["text.color"]
    axes.axhline(0, linewidth=0.6, color=ink)
    axes.axhline(falling.mean(), linewidth=0.8, linestyle="--", color=ink)


def _standard_error(scores: Scores) -> float:
    values = scores.by_query[NDCG]
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


@contextmanager
def drawing(ink: str = _PAPER_INK) -> Iterator[None]:
    """Draw lines and letters in this colour, names as they are, and the same bytes each time."""
    coloured = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    options: dict[Any, Any] = {
        **dict.fromkeys(coloured, ink),
        "text.parse_math": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "quantum-rerank",
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with mpl.rc_context(options), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a name in another script
        yield


def png(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    with naming(path):
        figure.savefig(path, dpi=150, metadata={"Software": None})


def svg(figure: Figure) -> str:
    """A figure as an element of a page, in the page's colour."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    before, _, rest = text.partition("<metadata>")
    return (before + rest.partition("</metadata>")[2]).replace(INK, "currentColor")
