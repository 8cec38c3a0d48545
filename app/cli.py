"""The command line: `qrerank`."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console

from app import cli_evaluate, cli_index, cli_keys, tables
from app.allocator import keep_memory
from app.circuit_check import check_circuit
from app.errors import KeysUnavailable, ServiceError
from app.exposure import Exposed, check_start
from app.loading import circuit_of, open_encoder, open_reranker, processors_of
from app.progress import bar, errors, log_progress
from app.scoring import Method
from app.settings import Settings
from app.telemetry.metrics_port import PortTaken, metrics_served
from quantum.errors import QuantumError
from quantum.feature_maps import feature_map
from retrieval.collection import Collection
from retrieval.errors import RetrievalError

if TYPE_CHECKING:
    from fastapi import FastAPI

cli = typer.Typer(
    help="Rerank retrieved passages with cosine, simulated fidelity circuits and BM25, on an ordinary CPU.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
cli.add_typer(cli_index.index, name="index")
cli.add_typer(cli_keys.keys, name="keys")
cli.command()(cli_evaluate.evaluate)
out = Console()
log = logging.getLogger(__name__)

MethodOption = Annotated[Method, typer.Option(help="classical: cosine; quantum: fidelity; hybrid: both and BM25.")]
TopN = Annotated[int, typer.Option(min=1, help="How many to show.")]
Exclude = Annotated[list[str] | None, typer.Option(help="What the answer must not be about; may be repeated.")]


@cli.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes; each holds its own copy of the model.")] = 1,
    demo: Annotated[bool, typer.Option("--demo", help="Build the demo collection if missing, and search it.")] = False,
) -> None:
    """Serve POST /rerank. Settings come from QRERANK_… environment variables; see the README."""
    import uvicorn

    from app.serving import options
    from app.telemetry.logs import set_up

    keep_memory()  # before there are threads, each of which would make a heap of its own
    settings = Settings()
    set_up(settings.logs)
    check_start(settings, host)
    operations = settings.operations
    with metrics_served(workers, operations.metrics_host or host, operations.metrics_port):
        served = _prepared(settings, workers, demo)
        log.info("quantum-rerank listens on http://%s:%d (documentation: /docs)", host, port)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # what is left to do when the server has stopped
        uvicorn.run(
            served,
            factory=True,
            host=host,
            port=port,
            workers=workers,
            **options(settings.limits),
        )


def _prepared(settings: Settings, workers: int, demo: bool) -> str | Callable[[], FastAPI]:
    """What uvicorn is to serve, once each model is prepared, and opened where one process serves alone."""
    from app.serving import application
    from app.telemetry.logs import is_pretty

    pretty = is_pretty(settings.logs, terminal=sys.stderr.isatty())
    with bar("preparing") if pretty else nullcontext(log_progress) as report, ThreadPoolExecutor(1) as beside:
        checked = beside.submit(check_circuit, circuit_of(settings))  # Python imports while OpenVINO compiles
        if workers == 1:
            beside.submit(import_module, "app.main")  # if that fails it will again, and be heard
        encoders = {model: open_encoder(settings, report, model) for model in (settings.model, *settings.models)}
        if demo:
            cli_index.build_demo(settings, encoders[settings.model], report)
            os.environ["QRERANK_DEFAULT_COLLECTION"] = cli_index.DEMO
        checked.result()
    if workers == 1:
        return partial(application, encoders)
    # Each process opens for itself what is prepared now, and they share the cores.
    os.environ["QRERANK_ENGINE__PROCESSORS"] = str(max(1, processors_of(settings) // workers))
    return "app.serving:application"


@cli.command()
def prepare() -> None:
    """Prepare QRERANK_MODEL and QRERANK_MODELS in QRERANK_MODEL_DIR, as `serve` would, and end."""
    settings = Settings()
    with bar("preparing") as report:
        for model in (settings.model, *settings.models):
            encoder = open_encoder(settings, report, model)
            out.print(f"{model} is ready in {settings.model_dir}: {encoder.arithmetic}", highlight=False)


@cli.command()
def rerank(
    query: Annotated[str, typer.Argument(help="The question.")],
    file: Annotated[typer.FileText, typer.Argument(help="Documents, one a line; - reads standard input.")],
    method: MethodOption = "hybrid",
    top_n: TopN = 10,
    exclude: Exclude = None,
) -> None:
    """Rank the lines of a file for a query."""
    documents = [line.strip() for line in file if line.strip()]
    if not documents:
        raise typer.BadParameter("the file holds no text; give one document a line")
    with bar("preparing") as report:
        reranker = open_reranker(Settings(), report)
    ranking = reranker.rerank(query, documents, method=method, exclude=exclude or ())
    out.print(tables.ranked([""] * len(documents), documents, ranking, top_n))


@cli.command()
def search(
    query: Annotated[str, typer.Argument(help="The question.")],
    collection: Annotated[str, typer.Option(help="A collection made by `qrerank index build`.")] = cli_index.DEMO,
    method: MethodOption = "hybrid",
    top_n: TopN = 5,
    exclude: Exclude = None,
) -> None:
    """Retrieve a collection's nearest passages and rank them."""
    settings = Settings()
    opened = Collection(cli_index.folder_of(settings, collection))
    with bar("preparing") as report:
        reranker = open_reranker(settings, report)
    positions, ranking = reranker.search(
        query, opened, candidates=settings.candidates, method=method, exclude=exclude or ()
    )
    passages = opened.passages(positions)
    titles, texts = [passage.title for passage in passages], [passage.text for passage in passages]
    out.print(tables.ranked(titles, texts, ranking, top_n))


@cli.command()
def circuit(
    map_name: Annotated[
        str | None, typer.Option("--map", help="angle or entangled; absent: the configured one.")
    ] = None,
    qubits: Annotated[int | None, typer.Option(min=2, max=4, help="Qubits per register.")] = None,
    svg: Annotated[Path | None, typer.Option(help="Write the drawing here as SVG, in place of text.")] = None,
) -> None:
    """Draw the fidelity circuit of one register, and its size in the basis {ry, rz, cx}."""
    from quantum.circuits import check_limits, draw, symbolic_circuit

    configured = Settings().circuit
    chosen = feature_map(map_name or configured.map, qubits or configured.qubits, configured.bandwidth)
    size = check_limits(chosen)
    if svg:
        svg.write_text(draw(symbolic_circuit(chosen), "svg"), encoding="utf-8")
    else:
        out.print(draw(symbolic_circuit(chosen), "text"), markup=False, highlight=False, soft_wrap=True)
    gates = ", ".join(f"{count} {gate}" for gate, count in size.counts)
    out.print(f"{chosen.name}: {size.qubits} qubits, depth {size.depth} ({gates})", highlight=False)


@cli.command()
def openapi() -> None:
    """Print the OpenAPI description of the service, as JSON."""
    from app.main import create_app
    from app.openapi import render

    sys.stdout.write(render(create_app()))


def main() -> None:
    """Run the command line; errors meant for the user are one line on standard error and exit status 1."""
    try:
        cli()
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False):
            where = "QRERANK_" + "__".join(str(part) for part in item["loc"]).upper() if item["loc"] else "settings"
            errors.print(f"{where}: {item['msg'].removeprefix('Value error, ')}", markup=False, style="red")
        sys.exit(1)
    except SettingsError as error:  # lists and objects are JSON
        errors.print(f"{error}: it is not JSON", markup=False, style="red")
        sys.exit(1)
    except (RetrievalError, QuantumError, ServiceError, Exposed, PortTaken) as error:
        text = error.reason if isinstance(error, KeysUnavailable) else str(error)
        errors.print(text, markup=False, style="red")
        sys.exit(1)
