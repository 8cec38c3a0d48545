"""The command line: `qrerank`."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app import version
from app.cli import circuit as cli_circuit
from app.cli import evaluate as cli_evaluate
from app.cli import feedback as cli_feedback
from app.cli import fit as cli_fit
from app.cli import index as cli_index
from app.cli import keys as cli_keys
from app.cli import tables
from app.cli import threshold as cli_threshold
from app.cli.collection_access import names, searchable
from app.cli.doctor.command import doctor
from app.cli.errors import STATUSES, run
from app.cli.options import (
    AsJson,
    Diversity,
    Exclude,
    FilterOption,
    MethodOption,
    Query,
    TopN,
    check_method,
    options_of,
    readable,
    reading_of,
)
from app.cli.progress import bar
from app.cli.terminal import print_line, show
from app.engine.loader import log_progress, open_cross_encoder, open_encoder, open_reranker, processors_of
from app.engine.malloc import keep_memory
from app.ranking.job import Options
from app.ranking.methods import RankMethod
from app.ranking.reranker import Ranking
from app.server.startup_checks import allow_open_files, bare, check_start, free_port
from app.settings import Settings
from app.telemetry.metrics_port import metrics_served, url_of
from retrieval.evaluation.beir import JSON_LINES
from retrieval.evaluation.text_files import read_records, read_text, text_of, title_of
from retrieval.text.passages import Passage
from retrieval.text.sentences import VISIBLE

if TYPE_CHECKING:
    from fastapi import FastAPI

cli = typer.Typer(
    epilog=STATUSES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich would interpret brackets in help and errors as markup
)
cli.add_typer(cli_index.index, name="index")
cli.add_typer(cli_keys.keys, name="keys")
cli.add_typer(cli_circuit.circuit, name="circuit")
cli.add_typer(cli_feedback.feedback, name="feedback")
cli.command()(cli_evaluate.evaluate)
cli.command("fit")(cli_fit.fit_parameters)
cli.command()(cli_threshold.threshold)
cli.command()(doctor)
log = logging.getLogger(__name__)

_UNREACHED = "reaches the score of QRERANK_MIN_SCORE"


def _print_version(wanted: bool) -> None:
    if wanted:
        print_line(f"quantum-rerank {version()}")
        raise typer.Exit


@cli.callback()
def options_of_all(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Rerank retrieved passages with cosine, simulated fidelity circuits and BM25, on an ordinary CPU."""


@cli.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes. Each holds its own copy of the model.")] = 1,
    demo: Annotated[
        bool,
        typer.Option(
            "--demo",
            help="Build the demo collection if it is missing, and search it by default unless "
            "QRERANK_DEFAULT_COLLECTION names another.",
        ),
    ] = False,
    parameters: Annotated[
        Path | None, typer.Option(callback=readable, help="Parameter file from `qrerank fit`; sets QRERANK_PARAMETERS.")
    ] = None,
) -> None:
    """Start the HTTP service. Settings come from QRERANK_… environment variables; see docs/configuration.md."""
    import uvicorn

    from app.server.asgi import options
    from app.telemetry.logs import set_up

    # Process 1 of a container gets no signal that it does not handle: a stop while models are prepared would be lost.
    # Besides, uvicorn raises SIGTERM again after its shutdown.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # a closed terminal, without nohup; uvicorn restarts workers
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    keep_memory()  # before threads start, because each would create a heap of its own
    allow_open_files()
    if parameters:
        os.environ["QRERANK_PARAMETERS"] = str(parameters)  # for every worker
    settings = Settings()
    set_up(settings.logs)
    host = bare(host)
    check_start(settings, host)
    operations = settings.operations
    with metrics_served(workers, bare(operations.metrics_host or host), operations.metrics_port):
        port = free_port(host, port)  # of which the metrics' port may be one
        served = _prepare_app(settings, workers, demo)
        log.info("quantum-rerank listens on %s (documentation: /docs)", url_of(host, port))
        uvicorn.run(
            served,
            factory=True,
            host=host,
            port=port,
            workers=workers,
            **options(settings),
        )


def _prepare_app(settings: Settings, workers: int, demo: bool) -> str | Callable[[], FastAPI]:
    """Prepare all models and return the application factory for uvicorn. With one worker, it gets the open models."""
    from app.server.asgi import application
    from app.telemetry.logs import is_pretty

    pretty = is_pretty(settings.logs, terminal=sys.stderr.isatty())
    with bar("preparing") if pretty else nullcontext(log_progress) as report, ThreadPoolExecutor(1) as background:
        if workers == 1:
            background.submit(import_module, "app.main")  # while OpenVINO compiles; the later import raises an error
        encoders = {model: open_encoder(settings, report, model) for model in (settings.model, *settings.models)}
        if workers > 1:  # else it is opened, and prepared if needed, with the application
            open_cross_encoder(settings, report)
        if demo:
            cli_index.build_demo(settings, encoders[settings.model], report)
            _search_demo_by_default(settings)
    if workers == 1:
        return partial(application, encoders)
    # Each worker opens the prepared models itself, and the workers share the CPUs.
    os.environ["QRERANK_ENGINE__PROCESSORS"] = str(max(1, processors_of(settings) // workers))
    return "app.server.asgi:application"


def _search_demo_by_default(settings: Settings) -> None:
    default, demo = settings.default_collection, cli_index.DEMO
    if default is None:
        os.environ["QRERANK_DEFAULT_COLLECTION"] = demo  # for every worker
    elif default != demo:
        log.warning(
            "%s is searched by default, as QRERANK_DEFAULT_COLLECTION says; name %s to search that", default, demo
        )


@cli.command()
def prepare(as_json: AsJson = False) -> None:
    """Prepare the models of the settings, and exit.

    QRERANK_MODEL, QRERANK_MODELS and QRERANK_CROSS_ENCODER__MODEL are prepared in QRERANK_MODEL_DIR.
    """
    settings, ready = Settings(), []
    with bar("preparing") as report:
        for model in (settings.model, *settings.models):
            encoder = open_encoder(settings, report, model)
            ready.append({"model": model, "arithmetic": encoder.arithmetic, "kind": "encoder"})
        if cross := open_cross_encoder(settings, report):
            ready.append({"model": cross.encoder.name, "arithmetic": "openvino-int8", "kind": "cross-encoder"})
    told = [f"{each['model']} is ready in {settings.model_dir}: {each['arithmetic']}, {each['kind']}" for each in ready]
    show({"model_dir": str(settings.model_dir), "models": ready}, "\n".join(told), as_json=as_json)


@cli.command()
def rerank(
    query: Query,
    file: Annotated[
        Path,
        typer.Argument(
            callback=readable,
            help="Documents in UTF-8, one per line, blank ones not counted; of .jsonl and .ndjson, an object with "
            '"text" and perhaps "title" per line. - reads lines of standard input.',
        ),
    ],
    method: MethodOption = "hybrid",
    top_n: TopN = 10,
    exclude: Exclude = None,
    diversity: Diversity = None,
    as_json: AsJson = False,
) -> None:
    """Rerank the documents of a file for a query."""
    passages = _passages(file)
    settings = Settings()
    check_method(method, settings)
    options = _options(settings, method, exclude, diversity)
    with bar("preparing") as report:
        documents = [passage.content for passage in passages]
        ranking = open_reranker(settings, report).rerank(query, documents, reading=reading_of(settings), **options)
    shown = _shown(ranking, top_n, settings)
    _show_ranking(query, method, passages, ranking, shown, f"no document {_UNREACHED}", as_json=as_json)


def _passages(file: Path) -> list[Passage]:
    """The documents of a file that are not blank, objects of JSON lines or lines; a usage error if there are none."""
    read: Iterable[Passage]
    if (end := file.suffix.lower()) in {".json", ".csv", ".tsv"}:  # its lines hold names of fields, and several fields
        raise typer.BadParameter(
            f"lines of a {end} file are no documents; write one object per line into a .jsonl file"
        )
    if file.suffix.lower() in JSON_LINES:
        records = read_records(file)  # ids, which may repeat, and metadata have no part in a ranking
        read = (Passage("", title_of(each, place), text_of(each, "text", place)) for place, each in records)
    else:
        read = (Passage("", "", line.strip()) for line in read_text(file).replace("\r", "\n").split("\n"))
    passages = [passage for passage in read if VISIBLE.search(passage.content)]
    if not passages:
        raise typer.BadParameter("the file contains no text; write one document per line")
    return passages


@cli.command()
def search(
    query: Query,
    collection: Annotated[
        str | None,
        typer.Option(
            help="A collection from `qrerank index build`. Absent: QRERANK_DEFAULT_COLLECTION, else demo.",
            autocompletion=names,
        ),
    ] = None,
    method: MethodOption = "hybrid",
    top_n: TopN = 5,
    exclude: Exclude = None,
    diversity: Diversity = None,
    wanted: FilterOption = None,
    as_json: AsJson = False,
) -> None:
    """Search a collection, and rerank the result. Passages are retrieved by meaning and by words."""
    settings = Settings()
    check_method(method, settings)
    options = _options(settings, method, exclude, diversity)
    name = settings.default_collection or cli_index.DEMO if collection is None else collection
    opened = searchable(settings, name, wanted)
    with bar("preparing") as report:
        reranker = open_reranker(settings.model_copy(update={"model": opened.model.name}), report)
        positions, ranking = reranker.search(
            query,
            opened,
            candidates=settings.candidates,
            first_stage=settings.first_stage.to_first_stage(),
            **options,
        )
    passages, shown = opened.passages(positions), _shown(ranking, top_n, settings)
    if passages:
        nothing = f"no passage of {name} {_UNREACHED}"
    else:
        nothing = _nothing_of(name, "that matches the filter" if wanted else "", settings)
    _show_ranking(query, method, passages, ranking, shown, nothing, as_json=as_json)


def _nothing_of(name: str, matching: str, settings: Settings) -> str:
    """Why a search of a collection has no candidates. matching: which of its passages were looked at; "": all."""
    which = f"{name} {matching}".strip()
    if settings.first_stage.dense:  # which finds the nearest passages, however far they are
        return f"there is no passage of {which}" if matching else f"{name} holds no passage that can be searched"
    return f"no passage of {which} has a word of the query"


def _options(settings: Settings, method: RankMethod, exclude: Sequence[str] | None, diversity: float | None) -> Options:
    """How to rank: as the command line says, else as the settings do."""
    options = options_of(settings, method=method, exclude=exclude or ())
    if diversity is not None:
        options["diversity"] = diversity
    return options


def _shown(ranking: Ranking, top_n: int, settings: Settings) -> int:
    """How many of the best are shown: at most `top_n`, and none below the least score of the settings."""
    return min(top_n, int((ranking.scores >= settings.min_score).sum()))


def _show_ranking(
    query: str,
    method: RankMethod,
    passages: Sequence[Passage],
    ranking: Ranking,
    top_n: int,
    nothing: str,
    *,
    as_json: bool,
) -> None:
    """Print the best of a ranking of passages; its JSON has the fields of the service's response.

    nothing: what people are told where `top_n` is 0.
    """
    results = [
        {
            "index": index,
            "relevance_score": float(ranking.scores[index]),
            "scores": {name: float(values[index]) for name, values in ranking.rankers.items()},
            "document": _document(passages[index]),
        }
        for index in ranking.order[:top_n].tolist()
    ]
    shown = tables.ranked(passages, ranking, top_n) if top_n else nothing
    show({"query": query, "method": method, "results": results}, shown, as_json=as_json)


def _document(passage: Passage) -> dict[str, object]:
    """What is known of it: of a file's lines, no id; of a whole document, no chunk."""
    named = {name: value for name in ("id", "title") if (value := getattr(passage, name))}
    chunk = {"chunk": dict(zip(("start", "end"), passage.chunk, strict=True))} if passage.chunk else {}
    return {**named, "text": passage.text, **chunk}


@cli.command()
def openapi() -> None:
    """Print the service's OpenAPI description."""
    from app.api.openapi import render
    from app.main import create_app

    print_line(render(create_app()).rstrip())


def main() -> None:
    """Run the command line and exit with its status."""
    sys.exit(run(partial(cli, standalone_mode=False)))
