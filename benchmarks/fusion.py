"""Every fusion algorithm, weighting, stage and mode in one table: `python -m benchmarks fusion` prints it.

Each query's 100 candidates are scored once by every ranker and kept in the user's cache folder; then all
fusions take a few minutes. What is fitted is fitted on the other collections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from app.cli.evaluation import judged_queries, open_dataset
from app.cli.fusion_fitting import by_fusion, fit_rankers
from app.cli.judged_lists import ROWS, JudgedList, JudgedLists, judged_lists
from app.cli.progress import bar
from app.engine.loader import open_reranker
from app.ranking.hybrid import Fusion, Weights
from app.settings import Settings
from benchmarks.quality import COLLECTIONS, ENCODED
from benchmarks.report import table
from retrieval.encoder.prepare import Progress
from retrieval.evaluation.beir import load
from retrieval.evaluation.significance import holm, paired_test
from retrieval.fusion.algorithms import ALGORITHMS
from retrieval.fusion.cascade import adaptive, sequential
from retrieval.fusion.weights import by_performance

NAMES = ("cacm", "cisi", "cranfield", "scifact", "hotpotqa", "noveleval", "cosqa", "jaquad")
NOT_ENGLISH = frozenset({"jaquad"})
TODAY = Fusion()
PLAIN = replace(TODAY, text=replace(TODAY.text, smoothed=0.0))
CHEAP = replace(TODAY, text=Weights(0.5, 0.0, 1.0), code=Weights(1.0, 0.0, 0.3, 0.0))
Vector = NDArray[np.float64]
Fuse = Callable[[JudgedList], Vector]
Make = Callable[[list[JudgedLists]], Fuse]  # from the other collections


def fused(fusion: Fusion) -> Make:
    """By a fusion whose fitted parameters come from the other collections, where it has any."""
    fits = fusion.algorithm in {"bayesian", "stacking", "ensemble"}
    return lambda others: partial(by_fusion, fusion=replace(fusion, fitted=fit_rankers(others)) if fits else fusion)


def by_past(others: list[JudgedLists]) -> Fuse:
    """With each ranker's weight by its mean nDCG on the other collections."""
    past = np.mean(
        [[lists.ndcg(partial(JudgedList.row, at=row)).mean() for row in range(3)] for lists in others], axis=0
    )
    cosine, quantum, lexical = by_performance(past.tolist()).tolist()
    return partial(by_fusion, fusion=replace(TODAY, text=Weights(cosine, quantum, lexical)))


def always(fuse: Fuse) -> Make:
    """The same, whatever the other collections say."""
    return lambda _: fuse


def mode(how: Callable[[Vector, Callable[[NDArray[np.int64]], Vector]], Vector]) -> Make:
    """Cosine and BM25 are cheap; `quantum` reads what the mode has it read."""
    return always(lambda each: how(by_fusion(each, CHEAP), lambda best: each.scores[1, best]))


def rows() -> Mapping[str, Make]:
    """All lines of the table; the first is what the others are compared with."""
    return {
        "**`hybrid`, the default**": fused(TODAY),
        **{f"{name} alone": always(partial(JudgedList.row, at=row)) for row, name in enumerate(ROWS)},
        **{f"{name}, without smoothing": fused(replace(PLAIN, algorithm=name)) for name in ALGORITHMS},
        **{f"{name}, smoothed": fused(replace(TODAY, algorithm=name)) for name in ALGORITHMS[1:]},
        **{f"weights: {w}": fused(replace(TODAY, weighting=w)) for w in ("equal", "fixed", "spread", "agreement")},
        "weights: past performance": by_past,
        "smoothed by half": fused(replace(TODAY, text=replace(TODAY.text, smoothed=0.5))),
        "feedback 0.2": fused(replace(TODAY, feedback=0.2)),
        "feedback 0.2, without smoothing": fused(replace(PLAIN, feedback=0.2)),
        "weights: spread, feedback 0.2": fused(replace(TODAY, weighting="spread", feedback=0.2)),
        "cosine and BM25 alone": fused(CHEAP),
        **{f"sequential: `quantum` on {k}": mode(partial(sequential, k=k)) for k in (10, 20, 50)},
        **{f"adaptive: on 20 within {m}": mode(partial(adaptive, k=20, margin=m)) for m in (1.5, 2.0, 2.5)},
    }


def line(label: str, values: Mapping[str, Vector], today: Mapping[str, Vector]) -> list[str]:
    """nDCG@10 by collection, with * where it differs from the default after Holm's correction for the collections."""
    means = {name: float(of.mean()) for name, of in values.items()}
    adjusted = dict(zip(values, holm([paired_test(of, today[name]).p for name, of in values.items()]), strict=True))
    gains = {name: mean / float(today[name].mean()) - 1 for name, mean in means.items()}
    english = 100 * float(np.mean([gain for name, gain in gains.items() if name not in NOT_ENGLISH] or [0.0]))
    cells = [f"{mean:.4f}{'*' if adjusted[name] < 0.05 else ''}" for name, mean in means.items()]
    return [label, *cells, f"{english:+.1f} %", f"{sum(gain > 0 for gain in gains.values())}"]


def judged(progress: Progress) -> list[JudgedLists]:
    """The judged lists of the development collections, from the user's cache where they are."""
    found, reranker = [], open_reranker(Settings(), progress)
    for name in NAMES:
        dataset = load(COLLECTIONS / name)
        place = open_dataset(dataset, reranker.encoder, ENCODED, progress)
        queries = judged_queries(dataset)
        found.append(judged_lists(reranker, dataset, place, queries, {}, ENCODED.with_name("judged"), progress))
    return found


def main() -> None:
    """Print the table."""
    lines = []
    with bar("scores") as progress:
        found = judged(progress)
        english = [each for each in found if each.collection not in NOT_ENGLISH]
        today: dict[str, Vector] = {}
        for done, (label, make) in enumerate(all_rows := list(rows().items())):
            progress("fusions", done, len(all_rows))
            values = {own.collection: own.ndcg(make([x for x in english if x is not own])) for own in found}
            today = today or values
            lines.append(line(label, values, today))
    print(table(["fusion", *(f"{each.collection} ({len(each)})" for each in found), "English", "better on"], lines))
