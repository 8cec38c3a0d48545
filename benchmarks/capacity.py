"""How much one process serves: `python -m benchmarks capacity` prints the tables of docs/operations/capacity.md.

A real server with the default model, on one processor and then on two. Two clients for each processor always have
another request ready, so that it is never idle; what it serves then is its capacity, and what a request took of the
cores is what plans are made with. No deadlines: with one, a server that is asked too much reads less and looks quick.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, product

from rich.console import Console
from rich.progress import track

from benchmarks.corpus import PASSAGE_TOKENS, Passages, Task, open_passages
from benchmarks.report import number, on_this_machine, table
from benchmarks.server import Server, cpu_seconds, ours
from benchmarks.wire import Request, drive, in_turn, post

PROCESSORS = (1, 2)
PAIRS = 0  # documents of a request for the similarity of two texts
DOCUMENTS = (10, 20, 50, 100, 500, PAIRS)
TOKENS = (64, PASSAGE_TOKENS)  # of each document
CLIENTS = 2  # for each processor
SECONDS = {"warm": 3.0, "cold": 4.0}  # warm: the documents' states are cached; cold: nobody has seen them

Cells = Mapping[tuple[str, int, int], tuple[float, float]]  # by states, tokens, documents: requests a second, core ms


def serve(server: Server, supply: Iterator[Request], clients: int, seconds: float) -> tuple[float, float]:
    """Requests a second that clients get answered, and core milliseconds of each; RuntimeError if one is not."""
    before = cpu_seconds(server.pid)
    load = drive(server.port, supply, clients, seconds)
    if load.errors:
        raise RuntimeError(f"{load.errors} of {len(load.ms) + load.errors} requests failed")
    return load.per_second, 1000 * (cpu_seconds(server.pid) - before) / len(load.ms)


def first(tasks: Sequence[Task], documents: int) -> list[Request]:
    """Requests for the first documents of each task; of two texts for PAIRS."""
    if documents == PAIRS:
        pairs = ({"text1": task.query, "text2": task.documents[0]} for task in tasks)
        return [post("/v1/similarity", pair) for pair in pairs]
    return [Task(task.query, task.documents[:documents]).request(deadline_ms=0) for task in tasks]


def unseen(passages: Passages, documents: int, tokens: int) -> Iterator[Request]:
    """Requests without end of documents that nobody has seen."""
    while True:
        yield from first(passages.tasks(1, max(1, documents), tokens), documents)


def cached(port: int) -> tuple[float, float]:
    """How many texts the server caches, and the bytes that they take."""
    metrics = in_turn(port, [Request("/metrics")])[0].body.decode()
    entries, size = (re.search(rf"^qrerank_cache_{name} (\S+)", metrics, re.MULTILINE) for name in ("entries", "bytes"))
    if not (entries and size):
        raise RuntimeError("GET /metrics says nothing of the cache")
    return float(entries[1]), float(size[1])


def measure(passages: Passages, processors: int) -> tuple[Cells, tuple[float, ...]]:
    """All cells of one process, and its memory in MiB idle and loaded, and in KiB for a document of each length.

    What is cached comes first: what is new drives it out of the cache.
    """
    cells: dict[tuple[str, int, int], tuple[float, float]] = {}
    kib: dict[int, float] = {}
    with ours(engine__processors=processors) as server:
        idle, tasks = server.resident_mb(), {tokens: passages.tasks(2, max(DOCUMENTS), tokens) for tokens in TOKENS}
        for tokens in TOKENS:
            before = cached(server.port)
            in_turn(server.port, first(tasks[tokens], max(DOCUMENTS)))
            entries, size = (after - there for after, there in zip(cached(server.port), before, strict=True))
            kib[tokens] = size / entries / 1024
        order = list(product(SECONDS, TOKENS, DOCUMENTS))
        for states, tokens, documents in track(order, f"{processors} processors", console=Console(stderr=True)):
            supply = unseen(passages, documents, tokens)
            if states == "warm":
                requests = first(tasks[tokens], documents)
                in_turn(server.port, requests)
                supply = cycle(requests)
            cells[states, tokens, documents] = serve(server, supply, CLIENTS * processors, SECONDS[states])
        return cells, (idle, server.resident_mb(), *kib.values())


def served_table(cells: Cells) -> str:
    """One process's requests a second and what each costs."""
    columns = list(product(SECONDS, TOKENS))
    lines = []
    for documents in DOCUMENTS:
        found = [cells[*column, documents] for column in columns]
        figures = (f"{number(per_second)} / {number(core_ms)}" for per_second, core_ms in found)
        lines.append((str(documents) if documents else "one pair, /v1/similarity", *figures))
    return table(("documents", *(f"{states}, {tokens} tokens" for states, tokens in columns)), lines)


def main() -> None:
    """Measure and print."""
    machine, passages = on_this_machine(), open_passages()
    parts, memory = [], []
    for processors in PROCESSORS:
        cells, held = measure(passages, processors)
        title = f"`QRERANK_ENGINE__PROCESSORS={processors}`: requests a second / ms of a core for each"
        parts.append(f"### One process, {title}\n\n{served_table(cells)}")
        memory.append((str(processors), *map(number, held)))
    headings = ("processors", "idle, MiB", "after this load, MiB", *(f"a document of {t} tokens, KiB" for t in TOKENS))
    print("\n\n".join([machine(), *parts, f"### Memory of one process\n\n{table(headings, memory)}"]))
