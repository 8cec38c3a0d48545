"""What is still answered well when too much is asked: `python -m benchmarks overload` prints the table.

A real server with the default model; every request has new documents and the default deadline. Requests come at random
times, whether those before them are answered or not, at multiples of what the server can read. Good is an answer in
time with at least half of its documents read.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from statistics import mean
from time import perf_counter, sleep

from benchmarks.corpus import Passages, open_passages
from benchmarks.report import number, percentile, spread, table, verdict
from benchmarks.server import ours
from benchmarks.wire import Answer, Connection, Request, drive

DOCUMENTS = 20
DEADLINE_MS = 400
LATE_MS = 50  # after the deadline an answer is still in time: for the way there and back
LOADS = (1, 2, 5, 10)  # times what the server can read
SECONDS = 4.0
PEAK_AT, TARGET, HEALTH_MS = 5, 0.8, 50
WATCHED = ("/health", "/metrics")
_ENCODED = re.compile(rb'"encoded":(\d+)')


@dataclass(frozen=True)
class Offered:
    """What came of requests at one rate."""

    times: int
    per_second: float
    answers: Sequence[Answer]
    watched_ms: Sequence[float]  # of GET /health and /metrics meanwhile

    @property
    def answered(self) -> list[Answer]:
        """Those with 200."""
        return [answer for answer in self.answers if answer.status == 200]

    @property
    def good(self) -> int:
        """Answers in time with half read."""
        in_time = [answer for answer in self.answered if answer.ms <= DEADLINE_MS + LATE_MS]
        return sum(encoded(answer) >= DOCUMENTS / 2 for answer in in_time)

    @property
    def wrong(self) -> int:
        """Neither answered nor refused as overload should be."""
        return sum(answer.status not in {200, 503} for answer in self.answers)


def encoded(answer: Answer) -> int:
    """Documents that were read."""
    found = _ENCODED.search(answer.body)
    return int(found[1]) if found else 0


def new_requests(passages: Passages, count: int) -> list[Request]:
    """So many requests, none with a document of another's."""
    return [task.request() for task in passages.tasks(count, DOCUMENTS)]


def offer(port: int, requests: Sequence[Request], times: int) -> Offered:
    """Send requests at random times over some seconds, each on a connection of its own."""
    chance, start = random.Random(times), perf_counter()  # noqa: S311 - the same times in every run
    watched: list[float] = []

    def one(request: Request, at: float) -> Answer:
        sleep(max(0.0, start + at - perf_counter()))
        with closing(Connection(port)) as connection:
            return connection.ask(request)

    with ThreadPoolExecutor(len(requests)) as threads, ExitStack() as stack:
        sent = [threads.submit(one, request, chance.uniform(0, SECONDS)) for request in requests]
        watching = [stack.enter_context(closing(Connection(port))) for _ in WATCHED]
        while not all(each.done() for each in sent):
            watched += (connection.ask(Request(path)).ms for connection, path in zip(watching, WATCHED, strict=True))
            sleep(0.05)
    return Offered(times, len(requests) / SECONDS, [each.result() for each in sent], watched)


def measure(passages: Passages) -> list[Offered]:
    """What a server does under each load."""
    with ours() as server:
        drive(server.port, iter(new_requests(passages, 10)), 1, 60)  # it learns what requests cost
        alone = drive(server.port, iter(new_requests(passages, 16)), 2, 60)
        return [
            offer(server.port, new_requests(passages, round(times * alone.per_second * SECONDS)), times)
            for times in LOADS
        ]


def report(rows: Sequence[Offered]) -> str:
    """A table, and whether the targets are met."""
    headings = ("load", "offered/s", "good/s", "answered", "refused", "read", "p50 / p95 ms", "health p99 / max ms")
    lines = [
        (
            f"{row.times}×",
            number(row.per_second),
            number(row.good / SECONDS),
            str(len(row.answered)),
            str(len(row.answers) - len(row.answered)),
            f"{number(mean(map(encoded, row.answered)))} of {DOCUMENTS}" if row.answered else "",
            spread([answer.ms for answer in row.answered]),
            spread(row.watched_ms, 0.99, 1),
        )
        for row in rows
    ]
    there = next(row for row in rows if row.times == PEAK_AT)
    kept = there.good / (max(row.good for row in rows) or 1)
    slowest = max(percentile(row.watched_ms, 0.99) for row in rows)
    return (
        f"{table(headings, lines)}\n\n"
        f"At {PEAK_AT}× {100 * kept:.0f} % of the peak, target ≥ {100 * TARGET:.0f} %, {verdict(kept >= TARGET)}. "
        f"Health and metrics: p99 {number(slowest)} ms, target ≤ {HEALTH_MS} ms, {verdict(slowest <= HEALTH_MS)}. "
        f"Neither answered nor refused: {sum(row.wrong for row in rows)}."
    )


def main() -> None:
    """Measure and print."""
    print(report(measure(open_passages())))
