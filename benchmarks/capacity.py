"""How much one process serves: `python -m benchmarks.capacity` prints the tables of docs/operations/capacity.md.

A real server with the default model, on one processor and then on two. Two clients for each processor always have
another request ready, so that it is never idle; what it serves then is its capacity, and what a request took of the
cores is what plans are made with. No deadlines: with one, a server that is asked too much reads less and looks quick.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

import orjson
from rich.console import Console
from rich.progress import Progress

from benchmarks.corpus import PASSAGE_TOKENS, Passages, Task, open_passages
from benchmarks.load import drive
from benchmarks.ours import request
from benchmarks.report import number, on_this_machine, table
from benchmarks.server import Server, cpu_seconds, ours
from benchmarks.wire import get, in_turn, post

PROCESSORS = (1, 2)
DOCUMENTS = (10, 20, 50, 100, 500)
PAIRS = 0  # documents of a request for the similarity of two texts
TOKENS = (64, PASSAGE_TOKENS)
CLIENTS = 2  # for each processor
WARM_S, COLD_S = 3.0, 4.0
WARM, COLD = "warm", "cold"


@dataclass(frozen=True)
class Served:
    """What clients who always had another request ready got of one process."""

    states: str  # WARM: the documents' are cached; COLD: nobody has seen them
    documents: int  # of each request
    tokens: int  # of each document
    per_second: float  # requests
    core_ms: float  # milliseconds of one core for each


@dataclass(frozen=True)
class Footprint:
    """What one process held, in MiB, and the KiB that its cache takes for a document, by the document's tokens."""

    idle: float
    loaded: float  # after all requests, its cache full
    document_kib: dict[int, float]


def serve(server: Server, supply: Iterator[bytes], clients: int, seconds: float) -> tuple[float, float]:
    """Requests a second that clients get answered, and core milliseconds of each; RuntimeError if one is not."""
    before = cpu_seconds(server.pid)
    load = drive(server.port, supply, clients, seconds)
    if load.errors:
        raise RuntimeError(f"{load.errors} of {len(load.ms) + load.errors} requests failed")
    return load.per_second, 1000 * (cpu_seconds(server.pid) - before) / len(load.ms)


def first(tasks: Sequence[Task], documents: int) -> list[bytes]:
    """Requests for the first documents of each task; of two texts for PAIRS."""
    if documents == PAIRS:
        pairs = ({"text1": task.query, "text2": task.documents[0]} for task in tasks)
        return [post("/v1/similarity", orjson.dumps(pair)) for pair in pairs]
    return [request(Task(task.query, task.documents[:documents]), deadline_ms=0) for task in tasks]


def unseen(passages: Passages, documents: int, tokens: int) -> Iterator[bytes]:
    """Requests without end of documents that nobody has seen."""
    while True:
        yield from first(passages.tasks(1, max(1, documents), tokens), documents)


def cached(port: int) -> tuple[float, float]:
    """How many texts the server caches, and the bytes that they take."""
    metrics = in_turn(port, [get("/metrics")])[0].body.decode()
    entries, size = (re.search(rf"^qrerank_cache_{name} (\S+)", metrics, re.MULTILINE) for name in ("entries", "bytes"))
    if not (entries and size):
        raise RuntimeError("GET /metrics says nothing of the cache")
    return float(entries[1]), float(size[1])


def measure(passages: Passages, processors: int, step: Callable[[], None]) -> tuple[list[Served], Footprint]:
    """All rows of one process. What is cached comes first: what is new drives it out of the cache."""
    rows: list[Served] = []
    kib: dict[int, float] = {}
    clients = CLIENTS * processors
    with ours(engine__processors=processors) as server:
        idle = server.resident_mb()
        for tokens in TOKENS:
            before = cached(server.port)
            tasks = passages.tasks(2, DOCUMENTS[-1], tokens)
            in_turn(server.port, first(tasks, DOCUMENTS[-1]))
            entries, size = (after - there for after, there in zip(cached(server.port), before, strict=True))
            kib[tokens] = size / entries / 1024
            for documents in (*DOCUMENTS, PAIRS):
                requests = first(tasks, documents)
                in_turn(server.port, requests)
                rows.append(Served(WARM, documents, tokens, *serve(server, cycle(requests), clients, WARM_S)))
                step()
        for tokens in TOKENS:
            for documents in (*DOCUMENTS, PAIRS):
                supply = unseen(passages, documents, tokens)
                rows.append(Served(COLD, documents, tokens, *serve(server, supply, clients, COLD_S)))
                step()
        return rows, Footprint(idle, server.resident_mb(), kib)


def served_table(rows: Sequence[Served]) -> str:
    """One process's requests a second and what each costs."""
    columns = list(dict.fromkeys((row.states, row.tokens) for row in rows))
    cells = {(row.documents, row.states, row.tokens): row for row in rows}
    lines = []
    for documents in dict.fromkeys(row.documents for row in rows):
        found = [cells.get((documents, *column)) for column in columns]
        figures = (f"{number(row.per_second)} / {number(row.core_ms)}" if row else "" for row in found)
        lines.append((str(documents) if documents else "one pair, /v1/similarity", *figures))
    return table(("documents", *(f"{states}, {tokens} tokens" for states, tokens in columns)), lines)


def memory_table(footprints: dict[int, Footprint]) -> str:
    """What a process holds, by its processors."""
    headings = ("processors", "idle, MiB", "after this load, MiB", *(f"a document of {t} tokens, KiB" for t in TOKENS))
    lines = [
        (str(processors), *map(number, (each.idle, each.loaded, *each.document_kib.values())))
        for processors, each in footprints.items()
    ]
    return table(headings, lines)


def main() -> None:
    """Measure and print."""
    machine, passages = on_this_machine(), open_passages()
    parts, footprints = [], {}
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("capacity", total=len(PROCESSORS) * len(TOKENS) * 2 * (len(DOCUMENTS) + 1))
        for processors in PROCESSORS:
            rows, footprints[processors] = measure(passages, processors, lambda: progress.advance(bar))
            title = f"`QRERANK_ENGINE__PROCESSORS={processors}`: requests a second / ms of a core for each"
            parts.append(f"### One process, {title}\n\n{served_table(rows)}")
    print("\n\n".join([machine(), *parts, f"### Memory of one process\n\n{memory_table(footprints)}"]))


if __name__ == "__main__":
    main()
