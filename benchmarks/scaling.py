"""How we scale: with tokens a document, with concurrent clients, and in memory over many requests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, cycle

from rich.progress import Progress

from benchmarks.corpus import Passages
from benchmarks.load import Load, drive, lag_buckets, lag_within
from benchmarks.measure import Sample, percentile
from benchmarks.ours import request, sample
from benchmarks.server import Server, ours
from benchmarks.wire import get, in_turn

TOKENS = (32, 64, 128, 216, 256)
TOKENS_DOCUMENTS = 50
TOKENS_RUNS = 10
CLIENTS = (1, 2, 5, 10, 25, 50)
CLIENT_SECONDS = 6.0
IDLE_PROBES = 300
WARM_DOCUMENTS = 100
WARM_TASKS = 10
COLD_DOCUMENTS = 20
MEMORY_REQUESTS = 1000  # every other one cold
MEMORY_CLIENTS = 4


@dataclass(frozen=True)
class Concurrency:
    """Warm and cold requests by more and more clients, and how late the event loop was under the most."""

    warm: list[Load]
    cold: list[Load]
    lag_p99_s: float | None  # upper bound, as the server's histogram tells it
    idle_health_p99_ms: float


@dataclass(frozen=True)
class Memory:
    """Resident MiB of the server process."""

    started: float
    half: float  # after the first half of the requests
    end: float


def by_tokens(passages: Passages, progress: Progress) -> list[Sample]:
    """Cold hybrid requests without deadline, of documents of more and more tokens."""
    bar = progress.add_task("tokens a document", total=len(TOKENS))
    samples = []
    with ours() as server:
        for tokens in TOKENS:
            tasks = passages.tasks(1 + TOKENS_RUNS, TOKENS_DOCUMENTS, tokens)
            answers = in_turn(server.port, [request(task, deadline_ms=0) for task in tasks])
            samples.append(sample(str(tokens), TOKENS_DOCUMENTS, answers[1:]))
            progress.advance(bar)
    return samples


def by_clients(passages: Passages, progress: Progress) -> Concurrency:
    """Requests a second and latencies under more and more clients."""
    bar = progress.add_task("concurrent clients", total=2 * len(CLIENTS))
    warm_loads, cold_loads = [], []
    with ours() as server:
        warm = cycle(_known(server, passages))
        idle = percentile([answer.ms for answer in in_turn(server.port, [get("/health")] * IDLE_PROBES)], 0.99)
        for clients in CLIENTS:
            before = lag_buckets(server.port)
            warm_loads.append(drive(server.port, warm, clients, CLIENT_SECONDS))
            lag = lag_within(before, lag_buckets(server.port), 0.99)
            progress.advance(bar)
        for clients in CLIENTS:
            cold_loads.append(drive(server.port, _unseen(passages), clients, CLIENT_SECONDS))
            progress.advance(bar)
    return Concurrency(warm_loads, cold_loads, lag, idle)


def memory(passages: Passages, progress: Progress) -> Memory:
    """Memory over many requests, warm and cold in turn, from a few clients."""
    bar = progress.add_task("memory", total=2)
    with ours() as server:
        mixed = chain.from_iterable(zip(cycle(_known(server, passages)), _unseen(passages), strict=False))
        readings = [server.resident_mb()]
        for _ in range(2):
            half = (next(mixed) for _ in range(MEMORY_REQUESTS // 2))
            done = drive(server.port, half, MEMORY_CLIENTS, 3600)
            if done.errors:
                raise RuntimeError(f"{done.errors} of {MEMORY_REQUESTS // 2} requests failed")
            readings.append(server.resident_mb())
            progress.advance(bar)
    return Memory(*readings)


def _known(server: Server, passages: Passages) -> list[bytes]:
    """Requests whose documents the server has in its cache."""
    asked = [request(task, deadline_ms=0) for task in passages.tasks(WARM_TASKS, WARM_DOCUMENTS)]
    in_turn(server.port, asked)
    return asked


def _unseen(passages: Passages) -> Iterator[bytes]:
    """Requests of new documents without end, under the default deadline."""
    while True:
        yield request(passages.tasks(1, COLD_DOCUMENTS)[0])
