"""Two checkouts, ours and another, in turn: `python -m benchmarks against FOLDER`, where FOLDER is a worktree.

Both servers run at the same time and are asked in turn, so that others' work meets both. Processor milliseconds of a
request count less of that work than its time does. Warm: 100 passages whose states are cached, another query each time.
"""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from statistics import median
from typing import Annotated

import orjson
import typer

from benchmarks.corpus import PASSAGE_TOKENS, QUERIES, Passages, open_passages
from benchmarks.regressions import by_thread
from benchmarks.report import number, on_this_machine, percentile, table
from benchmarks.server import ROOT, Server, ours
from benchmarks.wire import Request, drive, in_turn, post

DOCUMENTS, TOKENS = 100, 200
WARM_ROUNDS, A_ROUND = 8, 10
COLD_ROUNDS, COLD_DOCUMENTS = 8, 50
CLIENTS, SECONDS = 8, 4.0
STAGES = ("prescore", "encode_query", "join", "quantum", "fuse")  # of a warm request; all others take less

Figures = Mapping[str, float]


def bodies(documents: Sequence[str]) -> Iterator[Request]:
    """Requests without end for these documents, each with a query of its own."""
    for at in count():
        yield post("/rerank", {"query": f"{QUERIES[at % len(QUERIES)]} {at}", "documents": documents})


def processor_ms(server: Server) -> float:
    """Milliseconds that all threads of a server took so far."""
    return 1e3 * sum(by_thread(server.pid).values())


def compare(servers: Mapping[str, Server], passages: Passages) -> Mapping[str, Figures]:
    """The figures of each server, by name."""
    supply = {name: bodies(passages.take(DOCUMENTS, TOKENS)) for name in servers}
    for name, server in servers.items():
        in_turn(server.port, [next(supply[name]) for _ in range(3 * A_ROUND)])
    warm, spent, rates, cold = (defaultdict[str, list[float]](list) for _ in range(4))
    stages = defaultdict[str, list[dict[str, float]]](list)
    for _ in range(WARM_ROUNDS):
        for name, server in servers.items():
            before = processor_ms(server)
            answers = in_turn(server.port, [next(supply[name]) for _ in range(A_ROUND)])
            warm[name] += (each.ms for each in answers)
            stages[name] += (orjson.loads(each.body)["meta"]["timings_ms"] for each in answers)
            spent[name].append((processor_ms(server) - before) / A_ROUND)
    for _ in range(2):
        for name, server in servers.items():
            rates[name].append(drive(server.port, supply[name], CLIENTS, SECONDS).per_second)
    for _ in range(COLD_ROUNDS):
        for name, server in servers.items():
            request = next(bodies(passages.take(COLD_DOCUMENTS)))
            before = processor_ms(server)
            in_turn(server.port, [request])
            cold[name].append(PASSAGE_TOKENS * COLD_DOCUMENTS / (processor_ms(server) - before) * 1e3)
    return {
        name: {
            "warm, p50 ms": percentile(warm[name], 0.5),
            "warm, p95 ms": percentile(warm[name], 0.95),
            "warm, processor ms a request": median(spent[name]),
            f"warm, {CLIENTS} clients, requests a second": max(rates[name]),
            "cold, tokens a second of a processor": median(cold[name]),
            "memory, MiB": server.resident_mb(),
            **{f"{stage}, p50 ms": median(each.get(stage, 0.0) for each in stages[name]) for stage in STAGES},
        }
        for name, server in servers.items()
    }


def main(other: Annotated[Path, typer.Argument(help="Another checkout.", exists=True, file_okay=False)]) -> None:
    """Measure and print."""
    machine = on_this_machine()
    commit = ["git", "-C", str(other), "rev-parse", "--short", "HEAD"]
    name = subprocess.run(commit, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603 - ours
    folders = {name: other.resolve(), "this": ROOT}
    with ExitStack() as stack:
        servers = {
            key: stack.enter_context(ours(checkout=folder, engine__deadline_ms=0)) for key, folder in folders.items()
        }
        found = compare(servers, open_passages())
    pairs = ((what, old, found["this"][what]) for what, old in found[name].items())
    rows = [(what, number(old), number(new), number(new / old)) for what, old, new in pairs]
    print(f"{machine()}\n\n{table(('', name, 'this', 'ratio'), rows)}")
