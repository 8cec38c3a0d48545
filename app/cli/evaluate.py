"""`qrerank evaluate`: measure ranking quality on a test collection."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Annotated

import typer
from platformdirs import user_cache_path

from app.cli import tables
from app.cli.configurations import Configuration, configurations
from app.cli.errors import naming
from app.cli.evaluation import (
    BASELINE,
    BM25,
    Case,
    SearchOptions,
    Stage,
    judged_queries,
    own_documents,
    run_of,
    sampled,
)
from app.cli.evaluation import evaluate as run
from app.cli.options import (
    JUDGED,
    ChunkingChoice,
    ChunkOverlap,
    Chunks,
    ChunkSize,
    check_apart,
    check_method,
    readable,
    writable,
    writable_or_out,
)
from app.cli.progress import bar
from app.cli.results import AT, Evaluation, Ranked, compared
from app.cli.terminal import note, out, print_json
from app.ranking.methods import CROSS_METHOD, RANK_METHODS, RankMethod
from retrieval.evaluation.beir import BeirDataset, Query, load, load_exclusions
from retrieval.evaluation.known_items import KnownItem, known_items
from retrieval.evaluation.trec_runs import check_ids, write_run

_KNOWN_ITEMS = 200  # queries, if --queries does not say
_FEW = 6  # queries: with fewer no p-value can be below .05

Configs = Annotated[
    list[str] | None,
    typer.Option(
        "--config",
        metavar="NAME:KEY=VALUE,…",
        help="Also evaluate with these settings changed, as METHOD@NAME; such as words:first_stage.lexical=1 or "
        "f32:encoder.precision=f32. May be repeated.",
    ),
]
Known = Annotated[
    KnownItem | None,
    typer.Option(
        help="Evaluate without judgements: each query is the title or the first sentence of a document, which is taken "
        "from all documents, and that document must be found. Those with fewer than three words, that two documents "
        "have, or that the text repeats make no query, and are counted."
    ),
]
RunIn = Annotated[
    list[Path] | None,
    typer.Option(
        callback=lambda paths: [readable(path) for path in paths or ()],
        help="A TREC run file made elsewhere, evaluated beside the methods under its file's name. May be repeated.",
    ),
]
RunOut = Annotated[
    Path | None,
    typer.Option(file_okay=False, help="Write each ranking to FOLDER/COLLECTION.METHOD.run, a TREC run file."),
]
Report = Annotated[
    Path | None, typer.Option(callback=writable, help="Write one HTML file with tables, plots and queries.")
]
Plots = Annotated[Path | None, typer.Option(file_okay=False, help="Write the plots as PNG files to this folder.")]
Json = Annotated[
    Path | None,
    typer.Option(
        "--json",
        callback=writable_or_out,
        help="Write the results to this file; a list for several collections. -: print them in place of the tables.",
    ),
]
NoTimes = Annotated[
    bool, typer.Option("--no-times", help="Leave times out of --json and --report: two runs then write the same bytes.")
]


def evaluate(
    folders: Annotated[
        list[Path],
        typer.Argument(
            exists=True, file_okay=False, help=f"{JUDGED} With --known-item: corpus.jsonl alone, or .txt and .md files."
        ),
    ],
    methods: Annotated[
        str | None,
        typer.Option(
            help=f"Methods to compare, separated by commas, of {','.join(RANK_METHODS)}. Absent: all there are."
        ),
    ] = None,
    config: Configs = None,
    baseline: Annotated[str, typer.Option(help="The row that all others are compared with.")] = BASELINE,
    candidates: Annotated[
        int | None,
        typer.Option(min=1, help="Documents retrieved and reranked for each query. Absent: QRERANK_CANDIDATES, 100."),
    ] = None,
    first_stage: Annotated[
        Stage, typer.Option(help="Candidates by meaning (FAISS), by words (BM25), or both as the settings fuse them.")
    ] = "both",
    encode_limit: Annotated[
        int | None, typer.Option(min=1, help="Encode only this many candidates, the best by BM25.")
    ] = None,
    chunks: Chunks = None,
    chunk_size: ChunkSize = None,
    overlap: ChunkOverlap = None,
    split: Annotated[
        str | None, typer.Option(help="The split: judgements are read from qrels/SPLIT.tsv. Absent: test.")
    ] = None,
    known_item: Known = None,
    queries: Annotated[
        int | None,
        typer.Option(
            min=1, help="At most so many queries of each collection, at random. Absent: all; 200 known items."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of that choice.")] = 0,
    keep_identical_ids: Annotated[
        bool, typer.Option("--keep-identical-ids", help="Keep the document that has the query's id.")
    ] = False,
    exclude_file: Annotated[
        Path | None,
        typer.Option(callback=readable, help='Lines {"_id", "text", "exclude": [...]}; replaces the queries.'),
    ] = None,
    run_in: RunIn = None,
    run_out: RunOut = None,
    cache: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Where encoded collections are kept. Absent: the user's cache folder."),
    ] = None,
    json_file: Json = None,
    report: Report = None,
    plots: Plots = None,
    no_times: NoTimes = False,
) -> None:
    """Compare the methods on a test collection.

    Each method retrieves, reranks, and is compared with cosine, query by query. Printed are nDCG@10, MRR@10, MAP and
    recall of each method; p-values of a paired randomisation test on nDCG@10, corrected for all comparisons of the
    command (Holm); on how many queries a method is better and worse; the share of documents among its ten best that
    nobody judged; the best nDCG@10 that the retrieved candidates allow; and the median and 95th percentile of the
    milliseconds that reranking takes.

    Collections are encoded once and kept, in the user's cache folder under quantum-rerank/evaluated or in --cache.
    Texts are encoded on this machine; nothing is sent anywhere.
    """
    choice = ChunkingChoice(chunks, chunk_size, overlap)
    search = SearchOptions(candidates, encode_limit, first_stage, keep_identical_ids, choice)
    settings = configurations(config or (), search.overridden())
    chosen = _methods(methods, settings)
    outputs = _Outputs(json_file, run_out, report, plots, times=not no_times)
    _check(folders, exclude_file, run_in or (), known_item, split, outputs)
    source = _Source(split or "test", known_item, queries, seed, exclude_file, run_in or (), keep_identical_ids)
    cases = [source.case(folder) for folder in folders]
    outputs.prepare(cases)
    _check_baseline(baseline, [*chosen, BM25, *cases[0].runs], [each.name for each in settings])
    with bar("preparing") as progress:
        place = cache or user_cache_path("quantum-rerank") / "evaluated"
        results = compared(run(settings, cases, chosen, baseline, search, place, progress))
    for line in (line for case in cases for line in _notes(case, keep_identical_ids=keep_identical_ids)):
        note(line)
    if baseline not in results[0].methods:
        note(f"no row {baseline}, so nothing is compared with it; add it to --methods, or name another --baseline")
    outputs.write(results)
    for table in () if outputs.prints else tables.evaluations(results):
        out.print(table)


@dataclass(frozen=True)
class _Source:
    """Where queries, judgements and other rankings come from."""

    split: str
    known_item: KnownItem | None
    queries: int | None
    seed: int
    exclude_file: Path | None
    run_in: Sequence[Path]
    keep_identical_ids: bool

    def case(self, folder: Path) -> Case:
        """Read a collection; DataError if it cannot be evaluated."""
        if self.known_item:
            dataset = known_items(folder, self.known_item, self.queries or _KNOWN_ITEMS, self.seed)
            queries: Sequence[Query] = judged_queries(dataset)
            judgements = f"known items: {self.known_item}"
        else:
            exclusions = load_exclusions(self.exclude_file) if self.exclude_file else ()
            dataset, judgements = load(folder, self.split, exclusions), f"qrels/{self.split}.tsv"
            judged = judged_queries(dataset, exclusions)
            if self.exclude_file and len(judged) < len(exclusions):
                lacking = f"{len(exclusions) - len(judged)} of {len(exclusions)} queries in {self.exclude_file}"
                note = f"{lacking} have no relevant document, and are left out"
                dataset = replace(dataset, notes=(*dataset.notes, note))
            queries = sampled(judged, self.queries, self.seed)
        return Case(dataset, queries, judgements, self._runs(dataset, queries))

    def _runs(self, dataset: BeirDataset, queries: Sequence[Query]) -> Mapping[str, Ranked]:
        runs: dict[str, Ranked] = {}
        for file in self.run_in:
            name = file.stem
            if AT in name:  # hybrid@words is a row of ours
                raise typer.BadParameter(
                    f"{name!r} has {AT!r}, as rows of --config do; rename {file}", param_hint="'--run-in'"
                )
            if name in (*runs, *RANK_METHODS, BM25):
                raise typer.BadParameter(f"{name!r} is the name of another row; rename {file}", param_hint="'--run-in'")
            runs[name] = run_of(file, dataset, queries, self.keep_identical_ids)
        return runs


@dataclass(frozen=True)
class _Outputs:
    """What is written beside the tables."""

    json_file: Path | None
    run_out: Path | None
    report: Path | None
    plots: Path | None
    times: bool

    @property
    def prints(self) -> bool:
        """Whether the results are printed as JSON."""
        return str(self.json_file) == "-"

    def prepare(self, cases: Sequence[Case]) -> None:
        """Make the folders, before any work; DataError for ids that cannot be written."""
        for case in cases if self.run_out else ():
            check_ids([*case.dataset.query_ids, *case.dataset.document_ids])
        for folder in (self.run_out, self.plots):
            if folder:
                folder.mkdir(parents=True, exist_ok=True)

    def write(self, results: Sequence[Evaluation]) -> None:
        """Write all that was asked for."""
        if self.json_file:
            written = [result.as_json(times=self.times) for result in results]
            content = written if len(written) > 1 else written[0]
            if self.prints:
                print_json(content)
            else:
                with naming(self.json_file):
                    self.json_file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        if self.run_out:
            for result in results:
                for name, scores in result.methods.items():
                    path = self.run_out / f"{result.dataset}.{name}.run"
                    with naming(path):
                        write_run(path, scores.ranked.run, name)
        if self.report or self.plots:
            from app.cli.evaluation_report import write_plots, write_report  # imported on use: it needs matplotlib

            if self.plots:
                write_plots(results, self.plots)
            if self.report:
                write_report(results, self.report, times=self.times)


def _methods(text: str | None, settings: Sequence[Configuration]) -> list[RankMethod]:
    """The methods that are asked for; without a text all that every configuration has."""
    crossed = all(each.settings.cross_encoder.model for each in settings)
    offered = [method for method in RANK_METHODS if crossed or method != CROSS_METHOD]
    wanted = offered if text is None else text.split(",")
    if unknown := sorted(set(wanted) - set(RANK_METHODS)):
        raise typer.BadParameter(f"choose from {','.join(RANK_METHODS)}; unknown: {','.join(unknown)}")
    for each, method in product(settings, wanted):
        check_method(method, each.settings)
    return [method for method in offered if method in wanted]


def _check(
    folders: Sequence[Path],
    exclude_file: Path | None,
    run_in: Sequence[Path],
    known_item: KnownItem | None,
    split: str | None,
    outputs: _Outputs,
) -> None:
    """Refuse options that do not go together, before any work."""
    names = [folder.resolve().name for folder in folders]
    if exclude_file and len(folders) > 1:
        raise typer.BadParameter("--exclude-file replaces the queries of one collection; give one folder")
    if run_in and len(folders) > 1:
        raise typer.BadParameter("--run-in ranks the queries of one collection; give one folder")
    if exclude_file and known_item:
        raise typer.BadParameter("--exclude-file replaces queries that --known-item makes; give one of them")
    if split is not None and known_item:
        raise typer.BadParameter("--split names judgements, and --known-item is without any; give one of them")
    if (outputs.run_out or outputs.plots) and len(set(names)) < len(names):
        raise typer.BadParameter("two collections have the same name, and so would their files; rename one")
    check_apart(json=outputs.json_file, report=outputs.report)
    if (outputs.report or outputs.plots) and find_spec("matplotlib") is None:
        raise typer.BadParameter("--report and --plots need matplotlib: pip install 'quantum-rerank[draw]'")


def _check_baseline(baseline: str, rows: Sequence[str], suffixes: Sequence[str]) -> None:
    """Refuse a baseline that is no row; the usual one may be missing, and nothing is compared then."""
    names = [*rows, *(f"{method}{AT}{name}" for name in suffixes if name for method in rows if method in RANK_METHODS)]
    if baseline not in names and baseline != BASELINE:
        raise typer.BadParameter(
            f"there is no row {baseline!r}; choose from {', '.join(names)}", param_hint="'--baseline'"
        )


def _notes(case: Case, *, keep_identical_ids: bool) -> Iterator[str]:
    """Notes that explain the results."""
    dataset, count = case.dataset, len(case.queries)
    yield from dataset.notes
    own = own_documents(dataset)
    shared = sum(query.id in own for query in case.queries)
    if shared and not keep_identical_ids:
        yield (
            f"{shared} of {count} queries share their id with a document, which is excluded from their results; "
            "--keep-identical-ids keeps it"
        )
    for name, ranked in case.runs.items():
        if missing := sum(query.id not in ranked.run for query in case.queries):
            yield f"{name} ranks nothing for {missing} of {count} queries, which score 0"
    if count == 1:
        yield f"{dataset.name} has one query: nothing can be said of chance, so there is no p"
    elif count < _FEW:
        yield f"{dataset.name} has {count} queries: with fewer than {_FEW} no difference can be significant (p < 0.05)"
