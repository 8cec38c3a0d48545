"""What `qrerank circuit check` measures: how a map's kernel spreads over real texts, and how it fits judgements."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from rich.table import Table

from app.cli.evaluation import judged_queries
from quantum.diagnostics import (
    MOST_MEAN_FIDELITY,
    alignment,
    first_registers,
    least_eigenvalue,
    off_diagonal,
    shots_to_resolve,
)
from quantum.feature_maps import FeatureMap
from quantum.kernel import gram
from retrieval.encoder.prepare import Progress
from retrieval.encoder.protocol import Encoder
from retrieval.evaluation.beir import load
from retrieval.text.demo import demo_passages

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FACTORS = (1 / 64, 1 / 16, 1 / 4, 1 / 2, 1, 2, 4)  # times the chosen bandwidth
_MOST_RELEVANT, _OTHERS, _QUERIES = 5, 20, 20  # of a query; of a query; of a collection
_MANY = 1e6  # shots, beyond which their number is shown as a power
_RESOLVED = 64  # texts, of which the shots are computed
_VANISHING = 1e-3  # a mean fidelity below which shots hardly ever tell two texts apart

Vectors = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One bandwidth, or one number of registers."""

    bandwidth: float
    registers: int
    mean: float  # fidelity of different texts
    deviation: float
    least_eigenvalue: float
    shots: float  # of each register, to tell texts apart
    alignment: float | None  # mean over the queries; None: there are no judgements

    @property
    def verdict(self) -> str:
        """What is wrong with it."""
        if self.mean > MOST_MEAN_FIDELITY:
            return "saturated"
        return "vanishing" if self.mean < _VANISHING else ""


@dataclass(frozen=True)
class Checks:
    """Of one map."""

    feature_map: FeatureMap
    width: int  # features of a vector
    texts: int
    queries: int  # with judgements
    rows: Sequence[Row]

    def as_json(self) -> dict[str, object]:
        """For programs."""
        rows = [asdict(row) | {"verdict": row.verdict} for row in self.rows]
        about = {"map": self.feature_map.name, "qubits": self.feature_map.n_qubits}
        return about | {"width": self.width, "texts": self.texts, "queries": self.queries, "rows": rows}


@dataclass(frozen=True)
class _Judged:
    """The vectors of a query's relevant documents and of others, one row each."""

    vectors: Vectors
    relevant: NDArray[np.bool_]


def checked(encoder: Encoder, feature_map: FeatureMap, folder: Path | None, texts: int, progress: Progress) -> Checks:
    """Encode texts and measure the map at several bandwidths, then with the first registers alone.

    Args:
        encoder: Of the texts, one vector each.
        feature_map: The map; its bandwidth is multiplied by 1/64 to 4.
        folder: A judged collection; None: the demo's passages.
        texts: How many are compared with each other, chosen at random but always the same.
        progress: Told of each step.
    """
    vectors, judged = _vectors(encoder, folder, texts, progress)
    every, rows = feature_map.register_count(vectors.shape[1]), []
    ways = [(factor, every) for factor in _FACTORS]
    ways += [(1.0, count) for count in (1, 4, 16, 64) if count < every]
    for done, (factor, registers) in enumerate(ways):
        progress("kernels", done, len(ways))
        scaled = replace(feature_map, bandwidth=factor * feature_map.bandwidth)
        cut = first_registers(scaled, vectors, registers)
        kernel = gram(scaled, cut)
        shots = shots_to_resolve(scaled.register_fidelities(cut[:_RESOLVED], cut[:_RESOLVED]))
        spread = off_diagonal(kernel)
        aligned = [
            alignment(gram(scaled, first_registers(scaled, each.vectors, registers)), each.relevant) for each in judged
        ]
        mean = float(np.nanmean(aligned)) if aligned else None
        rows.append(
            Row(scaled.bandwidth, registers, spread.mean, spread.deviation, least_eigenvalue(kernel), shots, mean)
        )
    progress("kernels", len(ways), len(ways))
    return Checks(feature_map, vectors.shape[1], len(vectors), len(judged), rows)


def _vectors(
    encoder: Encoder, folder: Path | None, texts: int, progress: Progress
) -> tuple[Vectors, Sequence[_Judged]]:
    """(n, D) unit rows of texts, and the rows of each judged query."""
    chance = random.Random(0)  # noqa: S311 - the same in every run
    if folder is None:
        passages = [passage.content for passage in demo_passages()]
        return _encoded(encoder, chance.sample(passages, min(texts, len(passages)))), ()
    dataset = load(folder)
    filled = [at for at, text in enumerate(dataset.documents) if text]
    place = {name: at for at, name in enumerate(dataset.document_ids)}
    vectors = _encoded(encoder, [dataset.documents[at] for at in chance.sample(filled, min(texts, len(filled)))])
    queries, judged = judged_queries(dataset), []
    asked = chance.sample(queries, min(_QUERIES, len(queries)))
    for done, query in enumerate(asked):
        progress(f"judged texts of {dataset.name}", done, len(asked))
        grades = dataset.qrels[query.id]
        relevant = [place[name] for name, grade in grades.items() if grade > 0 and name in place][:_MOST_RELEVANT]
        others = [
            at for at in chance.sample(filled, min(2 * _OTHERS, len(filled))) if dataset.document_ids[at] not in grades
        ]
        chosen = relevant + others[:_OTHERS]
        rows = np.concatenate(
            [_encoded(encoder, [query.text], query=True), _encoded(encoder, [dataset.documents[at] for at in chosen])]
        )
        judged.append(_Judged(rows, np.arange(len(rows)) <= len(relevant)))
    return vectors, judged


def _encoded(encoder: Encoder, texts: Sequence[str], *, query: bool = False) -> Vectors:
    return encoder.encode(texts, "query" if query else "document").pooled.astype(np.float64)


def shown(found: Checks) -> Group:
    """The table, and what it is of."""
    heads = ("h", "registers", "mean F", "±", "least eig.", "shots")
    table = Table(*heads, *(["alignment"] if found.queries else []), "", show_edge=False)
    for row in found.rows:
        cells = [f"{row.bandwidth:.3f}", str(row.registers), f"{row.mean:.3g}", f"{row.deviation:.2g}"]
        cells += [f"{row.least_eigenvalue:.1e}", f"{row.shots:.0f}" if row.shots < _MANY else f"{row.shots:.1e}"]
        if row.alignment is not None:
            cells.append(f"{row.alignment:z.3f}")
        table.add_row(*cells, row.verdict)
    each = found.feature_map
    judged = f"; judgements of {found.queries} queries" if found.queries else ""
    return Group(f"{each.name}, {each.n_qubits} qubits; {found.texts} texts of {found.width} features{judged}", table)


def drawn(found: Checks, path: Path) -> None:
    """Draw the fidelities of different texts, mean and deviation, against bandwidth and registers, as PNG."""
    from matplotlib.figure import Figure  # of the extra `draw`

    from app.cli.evaluation_plots import drawing, png

    every, bandwidth = max(row.registers for row in found.rows), found.feature_map.bandwidth
    whole = [row for row in found.rows if row.registers == every]
    cut = sorted((row for row in found.rows if row.bandwidth == bandwidth), key=lambda row: row.registers)
    with drawing():
        figure = Figure((7.5, 3), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        _draw_means(left, [row.bandwidth for row in whole], whole, f"bandwidth h, {every} registers")
        h = np.geomspace(whole[0].bandwidth, whole[-1].bandwidth, 100)
        left.plot(h, np.exp(-(h**2) / 2), ":", color="#222222", label="exp(−h²/2)")
        left.legend(frameon=False, fontsize="small")
        _draw_means(right, [row.registers for row in cut], cut, f"registers, h = {bandwidth:.2f}")
        figure.supylabel("fidelity of different texts", fontsize="medium")
        png(figure, path)


def _draw_means(axes: Axes, x: Sequence[float], rows: Sequence[Row], label: str) -> None:
    mean, deviation = (np.array([getattr(row, name) for row in rows]) for name in ("mean", "deviation"))
    axes.plot(x, mean, "o-", color="#0072b2")
    axes.fill_between(x, np.maximum(mean - deviation, 0), np.minimum(mean + deviation, 1), alpha=0.2)
    axes.axhline(MOST_MEAN_FIDELITY, linestyle="--", linewidth=0.8, color="#d55e00")
    axes.set_xscale("log", base=2)
    axes.set_xticks(x, [f"{each:.2g}" for each in x], fontsize="small")
    axes.minorticks_off()
    axes.set_xlabel(label)
    axes.grid(alpha=0.3)
