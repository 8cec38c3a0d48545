"""`qrerank fit`: fit the parameters of fusion, circuit and scores on judged queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from itertools import compress
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from platformdirs import user_cache_path
from rich.table import Table

from app.cli.errors import naming
from app.cli.evaluation import judged_queries, open_dataset, own_documents
from app.cli.fitting import (
    IRRELEVANT,
    OTHERS,
    RELEVANT,
    SPLIT,
    Case,
    Example,
    Judged,
    Rates,
    calibration_error,
    cases,
    chosen,
    example,
    fit,
    rates,
    reliability,
)
from app.cli.fusion_fitting import Choice, FittedFusion, fit_fusion
from app.cli.judged_lists import BANDWIDTHS, bandwidths, judged_lists
from app.cli.options import (
    JUDGED,
    AsJson,
    ChunkingChoice,
    ChunkOverlap,
    Chunks,
    ChunkSize,
    check_apart,
    possible,
    writable,
)
from app.cli.progress import bar
from app.cli.terminal import note, out, print_json
from app.engine.loader import open_reranker
from app.ranking.calibration import Calibration
from app.ranking.parameters import WIDEST, Parameters
from app.ranking.reranker import Reranker
from app.settings import Settings
from app.telemetry.printable import escaped
from quantum.diagnostics import reference_spread
from quantum.feature_maps import FeatureMap
from retrieval.encoder.prepare import Progress
from retrieval.errors import DataError
from retrieval.evaluation.beir import BeirDataset, load
from retrieval.fusion.algorithms import DEFAULT
from retrieval.index.first_stage import FirstStage

_FEW = 50  # queries; with fewer the parameters depend on which ones they are


def fit_parameters(
    folders: Annotated[list[Path], typer.Argument(exists=True, file_okay=False, help=JUDGED)],
    calibration: Annotated[
        bool, typer.Option("--calibration", help="Fit the calibration of scores alone, for QRERANK_CALIBRATION.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(callback=writable, help="Absent: parameters.json, or calibration.json.")
    ] = None,
    queries: Annotated[int, typer.Option(min=1, help="At most so many queries of each collection.")] = 200,
    split: Annotated[str, typer.Option(help="The split: judgements are read from qrels/SPLIT.tsv.")] = "test",
    chunks: Chunks = None,
    chunk_size: ChunkSize = None,
    overlap: ChunkOverlap = None,
    plot: Annotated[Path | None, typer.Option(callback=writable, help="Draw a reliability diagram (PNG).")] = None,
    as_json: AsJson = False,
) -> None:
    """Fit the parameters of the ranking.

    Bandwidth, weights, smoothing, stacking and calibration of the configured model are fitted, and what they gain is
    shown. All is judged on queries that it was not fitted on: on each collection by the others, of one collection on
    each fifth by the rest. 50 queries are enough to try. Documents are split as the settings split those of a
    collection. Collections and scores are cached, as those of `evaluate`.
    """
    if find_spec("sklearn") is None:
        raise typer.BadParameter("fitting needs scikit-learn: pip install 'quantum-rerank[fit]'")
    if plot and find_spec("matplotlib") is None:
        raise typer.BadParameter("--plot needs matplotlib: pip install 'quantum-rerank[draw]'")
    output = output or Path("calibration.json" if calibration else "parameters.json")
    check_apart(output=output, plot=plot)
    datasets = _datasets(folders, split, queries, calibration=calibration)
    cache = user_cache_path("quantum-rerank")
    settings = Settings()
    first_stage = settings.first_stage.to_first_stage()
    with bar("preparing") as report:
        reranker = open_reranker(settings, report)
        encoded = cache / "evaluated"
        chunking = possible(reranker.encoder, ChunkingChoice(chunks, chunk_size, overlap).of(settings))
        places = [
            open_dataset(each, reranker.encoder, encoded, report, chunking, settings.language) for each in datasets
        ]
        judged = [
            Judged(each, place, chosen(each, judged_queries(each), queries))
            for each, place in zip(datasets, places, strict=True)
        ]
        fusion = None if calibration else _fit_fusion(reranker, judged, first_stage, cache / "judged", report)
        if fusion:
            reranker = _with(reranker, fusion.choice)
        found = cases(reranker, judged, report, first_stage)
        evidence = []
        for done, case in enumerate(found):
            report("evidence", done, len(found))
            evidence.append(example(reranker, case))
        held_out = left_out(reranker, found, evidence, report)
    if len(found) < _FEW:
        note(f"{len(found)} queries are few: with fewer than {_FEW} the parameters depend on which queries they are")
    scores = _calibration(reranker, evidence, held_out, fusion)
    with naming(output):
        (_parameters(reranker, fusion, scores) if fusion else scores).write(output)
    if plot:
        draw(held_out, plot)
    if fusion:
        note(_decision(fusion))
    if as_json:
        kept = fusion.kept if fusion else None  # whether what was fitted takes the place of what is configured
        print_json({"output": str(output), "kept": kept, "fitted": scores.provenance})
    else:
        _print(output, fusion, held_out)


def _datasets(folders: Sequence[Path], split: str, queries: int, *, calibration: bool) -> list[BeirDataset]:
    """Read the collections, all before any is encoded; DataError where nothing could be fitted on them."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise typer.BadParameter("two collections have the same name, and would be taken for one; rename one")
    datasets = [load(folder, split) for folder in folders]
    if not calibration and sum(min(queries, len(judged_queries(dataset))) for dataset in datasets) == 1:
        raise DataError("one query is too few: what is fitted on some is judged on others; give more judged queries")
    return datasets


def _print(output: Path, fusion: FittedFusion | None, held_out: dict[str, HeldOut]) -> None:
    """What people see."""
    if fusion:
        out.print(_fusion_table(fusion))
    if held_out:
        out.print(_table(held_out))
    use = "qrerank serve --parameters " if fusion else "QRERANK_CALIBRATION="
    out.print(f"wrote {escaped(str(output))}; serve with {use}{escaped(str(output))}", highlight=False)


def _fit_fusion(
    reranker: Reranker, judged: Sequence[Judged], first_stage: FirstStage, cache: Path, report: Progress
) -> FittedFusion:
    """What is chosen on the judged lists of all collections."""
    found = []
    for each in judged:
        own = own_documents(each.dataset)
        lists = judged_lists(reranker, each.dataset, each.collection, each.queries, own, cache, report, first_stage)
        found.append(lists)
    fusion = replace(reranker.fusion, algorithm=DEFAULT, weighting="type", feedback=0.0)
    if fusion != reranker.fusion:
        note(
            "weights are chosen for QRERANK_FUSION__ALGORITHM=weighted, QRERANK_FUSION__WEIGHTING=type and "
            "QRERANK_FUSION__FEEDBACK=0: that is what `configured` and `fitted` mean here, whatever the settings say"
        )
    factors = served_factors(reranker.feature_map, reranker.encoder.token_dimension)
    return fit_fusion(found, fusion, report, factors)


def served_factors(feature_map: FeatureMap, width: int) -> list[float]:
    """The factors of the bandwidth to choose from: with another one, what is fitted would be refused when it is served.

    width: the dimension of token vectors.
    """
    tried = zip(BANDWIDTHS, bandwidths(feature_map), strict=True)
    return [1.0] + [
        factor
        for factor, changed in tried
        if changed.bandwidth <= WIDEST and not reference_spread(changed, width).is_saturated
    ]


def _with(reranker: Reranker, choice: Choice) -> Reranker:
    """The reranker with what was chosen."""
    feature_map = replace(reranker.feature_map, bandwidth=choice.bandwidth * reranker.feature_map.bandwidth)
    return reranker.variant(feature_map, replace(reranker.fusion, text=choice.weights, ridge=choice.ridge))


def _parameters(reranker: Reranker, fusion: FittedFusion, scores: Calibration) -> Parameters:
    """All that was fitted. reranker: with what was chosen."""
    states = reranker.feature_map
    circuit: dict[str, str | int | float] = {
        "map": states.name,
        "qubits": states.n_qubits,
        "bandwidth": states.bandwidth,
    }
    return Parameters(circuit, fusion.choice.weights, fusion.choice.ridge, fusion.fitted, scores)


def _decision(fusion: FittedFusion) -> str:
    """Whether what is fitted takes the place of what is configured, and why."""
    figures = f"({fusion.gain:+.4f}, p = {fusion.p:.3g})"
    if fusion.kept:
        return f"weights, smoothing and bandwidth are fitted: better on queries left out of the fit {figures}"
    return (
        "weights, smoothing and bandwidth stay as configured: fitted ones were not significantly better on queries "
        f"that they were not fitted on {figures}"
    )


def _fusion_table(fusion: FittedFusion) -> Table:
    """Mean nDCG@10 of each group by what was fitted on the others."""
    names = list(next(iter(fusion.held_out.values())))
    table = Table("queries", *names, title="nDCG@10 of queries by what was fitted on the others")
    for group, row in fusion.held_out.items():
        table.add_row(escaped(group), *(f"{row[name].mean():.4f}" for name in names))
    return table


@dataclass(frozen=True)
class HeldOut:
    """How the scores of queries do that were not fitted on."""

    rates: Rates
    bins: NDArray[np.float64]  # of `reliability`

    @property
    def error(self) -> float:
        """The calibration error."""
        return calibration_error(self.bins)


def left_out(
    reranker: Reranker, found: Sequence[Case], evidence: Sequence[Example], progress: Progress
) -> dict[str, HeldOut]:
    """By collection: how its queries do with parameters fitted on the others; of one alone, its other half.

    A group is missing if nothing can be fitted on the others.
    """
    names = list(dict.fromkeys(each.collection for each in evidence))
    if len(names) == 1:
        groups = {f"{names[0]}, other half": np.arange(len(found)) % 2 == 1} if len(found) > 1 else {}
    else:
        groups = {name: np.array([each.collection == name for each in evidence]) for name in names}
    result = {}
    for done, (name, held) in enumerate(groups.items()):
        progress("left out", done, len(groups))
        try:
            calibration = _calibration(reranker, list(compress(evidence, ~held)))
        except DataError:  # the others are all relevant, or none is
            continue
        result[name] = HeldOut(
            rates(reranker.variant(calibration=calibration), list(compress(found, held))),
            reliability(calibration, list(compress(evidence, held))),
        )
    progress("left out", len(groups), len(groups))
    return result


def _calibration(
    reranker: Reranker,
    found: Sequence[Example],
    held_out: dict[str, HeldOut] | None = None,
    fusion: FittedFusion | None = None,
) -> Calibration:
    provenance: dict[str, object] = {
        "made": datetime.now(UTC).date().isoformat(),
        "version": version("quantum-rerank"),
        "queries": dict(Counter(each.collection for each in found)),
        "held_out": {name: {**asdict(each.rates), "error": each.error} for name, each in (held_out or {}).items()},
    }
    if fusion:
        table = {group: {name: float(of.mean()) for name, of in row.items()} for group, row in fusion.held_out.items()}
        provenance["fusion"] = {"p": fusion.p, "ndcg@10": table}
    return Calibration(reranker.encoder.name, reranker.encoder.digest, fit(found), provenance)


def _table(held_out: dict[str, HeldOut]) -> Table:
    table = Table(
        "collection",
        "queries",
        f"relevant alone ≥ {RELEVANT}",
        f"{OTHERS} of the same ≤ {IRRELEVANT}",
        f"{OTHERS} of another ≤ {IRRELEVANT}",
        f"nDCG lost by splitting {SPLIT}",
        "calibration error",
        title="Each collection by parameters fitted on the others" if len(held_out) > 1 else "By the other half",
    )
    for name, each in held_out.items():
        shares = ("" if share is None else f"{share:.1%}" for share in each.rates.shares)
        table.add_row(escaped(name), str(each.rates.queries), *shares, f"{each.rates.lost:.4f}", f"{each.error:.3f}")
    if len(held_out) > 1:
        known = zip(*(each.rates.shares for each in held_out.values()), strict=True)
        means = [[share for share in shares if share is not None] for shares in known]
        table.add_section()
        table.add_row(
            "mean",
            "",
            *(f"{np.mean(shares):.1%}" if shares else "" for shares in means),
            f"{np.mean([each.rates.lost for each in held_out.values()]):.4f}",
            f"{np.mean([each.error for each in held_out.values()]):.3f}",
        )
    return table


def draw(held_out: dict[str, HeldOut], path: Path) -> None:
    """Draw a reliability diagram: a line for each collection."""
    from matplotlib.figure import Figure  # of the extra `draw`

    from app.cli.evaluation_plots import drawing, png

    with drawing():
        figure = Figure((6, 6), layout="constrained")
        axes = figure.subplots()
        perfect = axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
        lines = [axes.plot(each.bins[:, 0], each.bins[:, 1], marker="o")[0] for each in held_out.values()]
        axes.set(
            xlabel="score", ylabel="share of relevant documents", title="Reliability on collections left out of the fit"
        )
        axes.legend([*perfect, *lines], ["perfect", *map(escaped, held_out)])  # a label of a line hides one with _
        png(figure, path)
