"""How many shots a ranking needs, and what noise does to it: `python -m benchmarks shots [--plot FILE.png]`.

Each query's candidates are ordered by the fidelity of one vector a text, with 96 registers for each. The probabilities
of all outcomes under the noise are Aer's; shots are drawn from them, as Aer does (the contract of the backends compares
both). Bands are 95 % intervals of the mean over queries.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray

from app.cli.progress import bar
from app.engine.loader import open_encoder
from app.ranking import Reranker
from app.settings import Settings
from benchmarks.feature_maps import judged
from benchmarks.report import table
from quantum.backends.aer import AerBackend
from quantum.backends.bulk import estimated
from quantum.backends.devices import fake_device
from quantum.backends.mitigation import ReadoutMitigation
from quantum.backends.noise import Noise
from quantum.estimates import Estimates, rank_intervals
from quantum.feature_maps import feature_map
from retrieval.fusion import ranking

NAMES = ("cacm", "scifact", "hotpotqa")
MAP, REPEATS = "angle", 5  # how often shots are drawn; once where they are mitigated
SHOTS = (32, 128, 512, 2048, 8192)
READOUT = Noise(readout=0.02)
MITIGATED = "readout 2 %, M3"
HEADS = "noise;shots;nDCG@10 less exact;Kendall τ;top-5 overlap;settled;shift of log F;error;theory".split(";")
Values = NDArray[np.float64]


class Level(NamedTuple):
    """What is between the circuit and the counts."""

    backend: AerBackend
    mitigate: ReadoutMitigation | None = None


class Found(NamedTuple):
    """Of one query with so many shots."""

    ndcg: float  # less that of the exact order
    tau: float  # Kendall's, against the exact scores
    top5: float  # share of the exact best five that are among the best five
    settled: float  # share of the ranks
    shift: float  # of log F, mean over the documents
    error: float  # root of the mean square of log F less its mean shift, over the documents
    predicted: float  # the same by the theory of shots, at the probabilities under the noise


def levels(qubits: int) -> dict[str, Level]:
    """The noise levels by name."""
    gates = Noise(readout=0.02, depolarizing=0.001, t1_us=100)
    return {
        "none": Level(AerBackend()),
        "readout 2 %": Level(AerBackend(noise=READOUT)),
        MITIGATED: Level(AerBackend(noise=READOUT), ReadoutMitigation(READOUT.confusions(qubits), by_m3=True)),
        "readout 2 %, gates 0.1 and 1 %, T1 100 µs": Level(AerBackend(noise=gates)),
        "fake_manila": Level(AerBackend(device=fake_device("fake_manila"), allow_deep=True)),
    }


def compared(
    estimates: Estimates, exact: Estimates, value: Callable[[Values], float], noisy: Values, shots: int
) -> Found:
    """One query's estimates beside its exact ones. noisy: (documents, R) probabilities that shots are drawn from."""
    from scipy.stats import kendalltau  # here and below: tests import this module, and its libraries take a second

    log_f, truth = estimates.log_fidelity[0], exact.log_fidelity[0]
    shift = float((log_f - truth).mean())
    ranks = rank_intervals(log_f, estimates.log_standard_error[0])
    best = set(ranking(truth)[:5].tolist())
    return Found(
        value(log_f) - value(truth),
        float(kendalltau(log_f, truth).statistic),
        len(best & set(ranking(log_f)[:5].tolist())) / len(best),
        float((ranks[:, 0] == ranks[:, 1]).mean()),
        shift,
        float((log_f - truth - shift).std()),
        float(np.sqrt(((1 - noisy) / (shots * noisy)).sum(axis=-1).mean())),
    )


def measured(queries: int) -> tuple[dict[Any, Values], float]:
    """By noise level and shots the (queries, fields of Found) means over repeats; and nDCG@10 by exact fidelities."""
    fm, rng = feature_map(MAP), np.random.default_rng(0)
    every, found, best = levels(fm.n_qubits), dict[Any, list[Values]](), list[float]()
    with bar("shots") as progress:
        reranker = Reranker(open_encoder(Settings(), progress))
        for name in NAMES:
            for query, documents, value in judged(reranker, name, queries, progress):
                rows = query.pooled.astype(np.float64), documents.pooled.astype(np.float64)
                exact = estimated(every["none"].backend.outcomes(fm, *rows), None)
                best.append(value(exact.log_fidelity[0]))
                for level, (backend, mitigate) in every.items():
                    p = np.maximum(backend.outcomes(fm, *rows), 0)
                    p /= p.sum(axis=-1, keepdims=True)
                    for shots in SHOTS:
                        draws = (rng.multinomial(shots, p) for _ in range(1 if mitigate else REPEATS))
                        counts = [estimated(drawn, shots, mitigate) for drawn in draws]
                        trials = [compared(each, exact, value, p[0, ..., 0], shots) for each in counts]
                        found.setdefault((level, shots), []).append(np.mean(trials, axis=0))
    return {key: np.stack(values) for key, values in found.items()}, float(np.mean(best))


def interval(values: Values) -> tuple[Values, Values]:
    """The means of (queries, fields), and half of their 95 % intervals."""
    return values.mean(axis=0), 1.96 * values.std(axis=0, ddof=1) / len(values) ** 0.5


def report(found: dict[Any, Values]) -> str:
    """The table; ± is half of the 95 % interval."""
    lines = []
    for (level, shots), values in found.items():
        mean, band = interval(values)
        cells = [f"{mean[0]:+.3f} ± {band[0]:.3f}", *(f"{mean[at]:.3f} ± {band[at]:.3f}" for at in (1, 2))]
        lines.append((level, str(shots), *cells, f"{100 * mean[3]:.0f} %", *(f"{each:.3f}" for each in mean[4:])))
    return table(HEADS, lines)


def draw(found: dict[Any, Values], path: Path) -> None:
    """Draw the first three columns against the shots, with their bands."""
    from matplotlib.figure import Figure

    from app.cli.evaluation_plots import drawing, png

    with drawing():
        figure = Figure((9, 3.4), layout="constrained")
        for at, axes in enumerate(figure.subplots(1, 3)):
            for level in dict.fromkeys(level for level, _ in found):
                mean, band = np.array([interval(found[level, shots]) for shots in SHOTS])[..., at].T
                axes.plot(SHOTS, mean, "o-", markersize=3, label=level)
                axes.fill_between(SHOTS, mean - band, mean + band, alpha=0.12)
            axes.set(
                title=HEADS[2 + at], xlabel="shots of each register", xscale="log", xticks=SHOTS, xticklabels=SHOTS
            )
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
        png(figure, path)


def main(
    queries: Annotated[int, typer.Option(min=2, help="At most so many of each collection, chosen at random.")] = 10,
    plot: Annotated[Path | None, typer.Option(help="Draw the figure (PNG).")] = None,
) -> None:
    """Print the table."""
    found, exact = measured(queries)
    count = len(next(iter(found.values())))
    print(f"{report(found)}\n\n`{MAP}`, {count} queries, exact nDCG@10 {exact:.3f}")
    if plot:
        draw(found, plot)
