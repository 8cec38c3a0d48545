"""How much one process serves: `python -m benchmarks.capacity` prints the tables of docs/operations/capacity.md.

A real server with the default model, on one processor and then on two. Two clients for each processor always have
another request ready, so that it is never idle; what it serves then is its capacity, and what a request took of the
cores is what plans are made with. No deadlines: with one, a server that is asked too much reads less and looks quick.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import Progress

from benchmarks.corpus import PASSAGE_TOKENS, Passages, Task, open_passages
from benchmarks.load import drive
from benchmarks.machine import facts, watch_others
from benchmarks.ours import request
from benchmarks.planning import COLD, WARM, Demand, Footprint, Served, report
from benchmarks.report import table
from benchmarks.server import Server, family, ours
from benchmarks.wire import get, in_turn, post

PROCESSORS = (1, 2)
DOCUMENTS = (10, 20, 50, 100, 500)
TOKENS = (64, PASSAGE_TOKENS)
CLIENTS = 2  # for each processor
WARM_S, COLD_S = 3.0, 4.0
_POOLS = 2  # of as many documents as the largest request has, of which the warm requests are made
_PAIRS = 50  # of texts, remembered
EXAMPLE = Demand(per_second=50, documents=50, tokens=PASSAGE_TOKENS, known=0.9, remembered=10_000)
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """A server under measurement."""

    server: Server
    processors: int
    step: Callable[[], None]  # called after each row

    def serve(self, states: str, documents: int, tokens: int, supply: Iterator[bytes], seconds: float) -> Served:
        """A row; RuntimeError if a request was refused or failed."""
        before = cpu_seconds(self.server.pid)
        load = drive(self.server.port, supply, CLIENTS * self.processors, seconds)
        cores = (cpu_seconds(self.server.pid) - before) / load.seconds
        if load.errors:
            raise RuntimeError(f"{load.errors} of {len(load.ms) + load.errors} requests failed")
        self.step()
        return Served(self.processors, states, documents, tokens, load.per_second, cores, load.client_cpu)


def cpu_seconds(pid: int) -> float:
    """Processor seconds that a process and its children took so far (Linux only)."""
    ticks = 0
    for member in family(pid):
        # The command's name may hold anything, spaces and brackets too; what follows it does not.
        fields = Path(f"/proc/{member}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def pair(task: Task) -> bytes:
    """A task's query and first document as a request for their similarity."""
    return post("/v1/similarity", orjson.dumps({"text1": task.query, "text2": task.documents[0]}))


def cut(pools: Sequence[Task], documents: int) -> list[bytes]:
    """Requests of so many documents from those of the pools, each document once or never."""
    return [request(Task(pool.query, pool.documents[:documents]), deadline_ms=0) for pool in pools]


def unseen(passages: Passages, documents: int, tokens: int) -> Iterator[bytes]:
    """Requests without end of documents that nobody has seen; 0 documents: pairs of texts."""
    while True:
        task = passages.tasks(1, max(1, documents), tokens)[0]
        yield request(task, deadline_ms=0) if documents else pair(task)


def cached(port: int) -> tuple[float, float]:
    """How many texts the server remembers, and the bytes that they take."""
    metrics = in_turn(port, [get("/metrics")])[0].body.decode()
    entries, size = (re.search(rf"^qrerank_cache_{name} (\S+)", metrics, re.MULTILINE) for name in ("entries", "bytes"))
    if not (entries and size):
        raise RuntimeError("GET /metrics says nothing of the cache")
    return float(entries[1]), float(size[1])


def warm_rows(measured: Measured, passages: Passages, tokens: int) -> tuple[list[Served], float]:
    """Rows of requests whose documents are remembered, and the bytes of the cache that one document takes."""
    before = cached(measured.server.port)
    pools = passages.tasks(_POOLS, DOCUMENTS[-1], tokens)
    in_turn(measured.server.port, cut(pools, DOCUMENTS[-1]))
    entries, size = (after - there for after, there in zip(cached(measured.server.port), before, strict=True))
    rows = [measured.serve(WARM, documents, tokens, cycle(cut(pools, documents)), WARM_S) for documents in DOCUMENTS]
    pairs = [pair(task) for task in passages.tasks(_PAIRS, 1, tokens)]
    in_turn(measured.server.port, pairs)
    return [*rows, measured.serve(WARM, 0, tokens, cycle(pairs), WARM_S)], size / entries


def measure(passages: Passages, processors: int, step: Callable[[], None]) -> tuple[list[Served], Footprint]:
    """All rows of one process. What is remembered comes first: what is new drives it out of the cache."""
    rows: list[Served] = []
    sizes: dict[int, float] = {}
    with ours(engine__processors=processors) as server:
        idle = server.resident_mb()
        measured = Measured(server, processors, step)
        for tokens in TOKENS:
            warm, sizes[tokens] = warm_rows(measured, passages, tokens)
            rows += warm
        for tokens in TOKENS:
            for documents in (*DOCUMENTS, 0):
                rows.append(measured.serve(COLD, documents, tokens, unseen(passages, documents, tokens), COLD_S))
        return rows, Footprint(processors, idle, server.resident_mb(), sizes)


def main() -> None:
    """Measure and print."""
    machine, others = facts(), watch_others()
    passages = open_passages()
    rows: list[Served] = []
    footprints = []
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("capacity", total=len(PROCESSORS) * len(TOKENS) * 2 * (len(DOCUMENTS) + 1))
        for processors in PROCESSORS:
            found, footprint = measure(passages, processors, lambda: progress.advance(bar))
            rows += found
            footprints.append(footprint)
    machine["processors that others' work took meanwhile"] = f"{others():.2f}"
    print(f"{table(('', ''), list(machine.items()))}\n")
    print(report(rows, footprints, EXAMPLE))


if __name__ == "__main__":
    main()
