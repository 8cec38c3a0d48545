"""The whole service beside its peers: `python -m benchmarks.rerank`.

Latency by number of documents in one run over the same documents, then how we scale, how much of the machine the
encoder uses, and the targets. Linux only: memory is read from /proc. The peers live in .venv-peers, made when first
needed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.engine.loader import open_encoder
from app.settings import Settings
from benchmarks import ours, peers, scaling
from benchmarks.corpus import Passages, Task, open_passages
from benchmarks.figures import Figures
from benchmarks.handover import handover
from benchmarks.machine import facts, watch_others
from benchmarks.report import report
from benchmarks.roofline import roofline
from benchmarks.targets import targets
from retrieval.encoder.prepare import prepare
from retrieval.encoder.weights import DEFAULT_MODEL

# Requests by number of documents. A peer takes the first of ours; the slow ones cannot take all of them.
OUR_RUNS = {20: 20, 50: 20, 100: 20, 500: 4, 1000: 2}
PEER_RUNS = {20: 5, 50: 5, 100: 5, 500: 1, 1000: 1}
QUICK_PEER_RUNS = {20: 3, 50: 3, 100: 3}
_WARM_UP_DOCUMENTS = 50
_ROOFLINE_DOCUMENTS = 100


@dataclass(frozen=True)
class Run:
    """What the parts of a run share: the figures so far, the texts, and who takes how many."""

    figures: Figures
    passages: Passages
    warm_up: Task
    work: dict[int, list[Task]]  # by number of documents
    peer_runs: dict[int, int]  # requests, by number of documents
    progress: Progress


def main() -> None:
    """Measure what was asked for and print it."""
    arguments = _arguments()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        figures = measure(arguments.parts, quick=arguments.quick, progress=progress)
    print(report(figures))
    if arguments.json:
        promised = [{**vars(target), "met": target.met} for target in targets(figures)]
        arguments.json.write_text(json.dumps(figures.as_dict() | {"targets": promised}, indent=1) + "\n")


def measure(parts: Sequence[str], *, quick: bool, progress: Progress) -> Figures:
    """Run the named parts, one after the other: nothing of ours computes meanwhile."""
    prepare(DEFAULT_MODEL, Settings().model_dir, lambda *_: None)
    passages = open_passages()
    warm_up = passages.tasks(1, _WARM_UP_DOCUMENTS)[0]
    work = {documents: passages.tasks(runs, documents) for documents, runs in OUR_RUNS.items()}
    run = Run(Figures(facts()), passages, warm_up, work, QUICK_PEER_RUNS if quick else PEER_RUNS, progress)
    for part in parts:
        others = watch_others()
        PARTS[part](run)
        run.figures.others[part] = others()
    return run.figures


def _latency(run: Run) -> None:
    run.figures.latencies += ours.cold(ours.COLD, run.work, run.warm_up, 0, run.progress)
    run.figures.latencies += ours.cold(ours.COLD_DEADLINE, run.work, run.warm_up, None, run.progress)
    run.figures.latencies += ours.warm(run.work, run.progress)
    run.figures.latencies += ours.indexed(run.work, run.progress)


def _peers(run: Run) -> None:
    peers.prepare(run.progress)
    run.figures.peer_versions = peers.versions()
    theirs = {documents: run.work[documents][:count] for documents, count in run.peer_runs.items()}
    for peer in peers.INFINITY:
        run.figures.latencies += peers.infinity_row(peer, theirs, run.warm_up, run.progress)
    for row in peers.LIBRARIES:
        run.figures.latencies += peers.library_row(row, theirs, run.warm_up, run.progress)


def _scaling(run: Run) -> None:
    run.figures.tokens = scaling.by_tokens(run.passages, run.progress)
    run.figures.concurrency = scaling.by_clients(run.passages, run.progress)


def _memory(run: Run) -> None:
    run.figures.memory = scaling.memory(run.passages, run.progress)


def _roofline(run: Run) -> None:
    encoder = open_encoder(Settings(), lambda *_: None)
    run.figures.roofline = roofline(encoder, lambda: run.passages.take(_ROOFLINE_DOCUMENTS), run.progress)


def _handover(run: Run) -> None:
    run.figures.handover_us = handover()


PARTS: dict[str, Callable[[Run], None]] = {
    "latency": _latency,
    "peers": _peers,
    "scaling": _scaling,
    "memory": _memory,
    "roofline": _roofline,
    "handover": _handover,
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="The service beside its peers, over the same documents in one run; tables in markdown on standard "
        "output. Some 12 minutes on two cores, and once 90 seconds more and 2 GB of disk for the peers' environment."
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures as JSON")
    parser.add_argument("--quick", action="store_true", help="leave 500 and 1000 documents out for the peers")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="measure only these")
    return parser.parse_args()


if __name__ == "__main__":
    main()
