"""How fast weights are learned from feedback: `python -m benchmarks feedback` prints the table and draws the curves.

Simulated users see the best ten of each query and say which are relevant; the next query is fused by what was learned.
Twenty times the queries come in another order, at most 100 of them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from matplotlib.figure import Figure
from numpy.typing import NDArray

from app.cli.judged_lists import JudgedList
from app.cli.progress import bar
from app.feedback.learner import EXPERTS, Evidence, losses_of, probabilities, weights
from app.ranking.hybrid import RANKERS, Fusion
from benchmarks.fusion import judged
from benchmarks.report import table

ORDERS, MOST, SHOWN, CALLER_LIMIT = 20, 100, 10, 200
HEADS = ("collection", "default", "best fixed of the others", f"learned from at most {MOST}", "best in hindsight")
Vector = NDArray[np.float64]


class Query:
    """One judged query."""

    def __init__(self, of: JudgedList) -> None:
        """Take what each ranker adds at weight 1, (3, n), and the usual weights, (3,)."""
        self.of = of
        self.parts, self.defaults = Fusion().parts(of.rankers, of.code, partial(getattr, of, "gram"))
        if not of.readable:  # words alone decide, whatever the weights: nothing is learned
            self.parts = np.tile(of.row(RANKERS.index("lexical")), (3, 1))

    def ndcg(self, posterior: Vector) -> float:
        """nDCG@10 by what was learned."""
        return self.of.ndcg(weights(posterior, self.defaults) @ self.parts)

    def losses(self, posterior: Vector) -> list[Vector]:
        """What it costs each expert that users find the relevant ones among those shown."""
        shown = np.argsort(-(weights(posterior, self.defaults) @ self.parts), kind="stable")[:SHOWN]
        relevant = [int(at) for at in shown if self.of.grades[at] > 0]
        return [losses_of(self.parts.astype(np.float32), self.defaults, at, relevant=True) for at in relevant]


def simulate(of: list[Query], order: NDArray[np.int64]) -> tuple[Vector, Vector]:
    """nDCG@10 of each query in its turn, and what was learned in the end."""
    known, got = Evidence(0.0, np.zeros(EXPERTS)), []
    for at in order:
        posterior = probabilities([known], CALLER_LIMIT)
        got.append(of[at].ndcg(posterior))
        losses = of[at].losses(posterior)
        known = Evidence(known.judged + len(losses), known.losses + np.sum(losses, axis=0))
    return np.array(got), probabilities([known], CALLER_LIMIT)


def main(plot: Annotated[Path, typer.Option(help="The picture.")] = Path("docs/images/feedback.png")) -> None:
    """Print the table and draw the curves."""
    with bar("scores") as progress:
        found = {lists.collection: [Query(each) for each in lists] for lists in judged(progress)}
        fixed = {name: np.array([[q.ndcg(e) for e in np.eye(EXPERTS)] for q in of]) for name, of in found.items()}
        figure, rows, values = Figure(figsize=(9, 4.5), layout="constrained"), [], []
        axes = figure.subplots(2, 4).ravel()
        for number, (name, of) in enumerate(found.items()):
            progress("simulations", number, len(found))
            others = np.mean([each.mean(axis=0) for other, each in fixed.items() if other != name], axis=0)
            best = fixed[name][:, others.argmax()]
            generator, curves, after = np.random.default_rng(0), [], []
            for _ in range(ORDERS):
                order = generator.permutation(len(of))[:MOST]
                got, posterior = simulate(of, order)
                curves.append(np.cumsum(got - best[order]) / np.arange(1, len(order) + 1))
                after.append(np.mean([query.ndcg(posterior) for query in of]))
            mean, band = np.mean(curves, axis=0), 2 * np.std(curves, axis=0) / ORDERS**0.5
            axes[number].plot(mean)
            axes[number].fill_between(np.arange(len(mean)), mean - band, mean + band, alpha=0.3)
            axes[number].axhline(0, color="grey", linewidth=0.8)
            axes[number].set_title(name, fontsize=9)
            own, learned = fixed[name].mean(axis=0), f"{np.mean(after):.4f} ± {2 * np.std(after) / ORDERS**0.5:.4f}"
            rows.append([name, f"{own[0]:.4f}", f"{best.mean():.4f}", learned, f"{own.max():.4f}"])
            values.append([own[0], best.mean(), np.mean(after), own.max()])
        rows.append(["mean", *(f"{value:.4f}" for value in np.mean(values, axis=0))])
    figure.supxlabel("judged queries")
    figure.supylabel("mean nDCG@10 so far, less the best fixed weights'")
    figure.savefig(plot, dpi=110, metadata={"Software": None})
    print(table(HEADS, rows))
