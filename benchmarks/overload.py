"""What is still answered well when too much is asked: `python -m benchmarks.overload` prints the table.

A real server with the default model; every request has new documents and the default deadline. Requests come at random
times, whether those before them are answered or not, at multiples of what the server can read. Good is an answer in
time with at least half of its documents read.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from time import perf_counter

import orjson

from app.settings import EngineSettings
from benchmarks.corpus import Passages, open_passages
from benchmarks.load import drive
from benchmarks.measure import percentile
from benchmarks.report import number, table
from benchmarks.server import ours
from benchmarks.wire import Answer, Connection, get, post, run

DOCUMENTS = 20
DEADLINE_MS = 400
LATE_MS = 50  # after the deadline an answer is still in time: for the way there and back
LOADS = (1, 2, 5, 10)  # times what the server can read
SECONDS = 4.0
PEAK_AT, TARGET, HEALTH_MS = 5, 0.8, 50
_WATCHED = ("/health", "/metrics")
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
    def goodput(self) -> float:
        """Those a second."""
        return self.good / SECONDS

    @property
    def wrong(self) -> int:
        """Neither answered nor refused as overload should be."""
        return sum(answer.status not in {200, 503} for answer in self.answers)


def encoded(answer: Answer) -> int:
    """Documents that were read."""
    found = _ENCODED.search(answer.body)
    return int(found[1]) if found else 0


def new_requests(passages: Passages, count: int) -> list[bytes]:
    """So many requests, none with a document of another's."""
    tasks = passages.tasks(count, DOCUMENTS)
    return [post("/rerank", orjson.dumps({"query": task.query, "documents": task.documents})) for task in tasks]


async def offer(port: int, requests: Sequence[bytes], times: int) -> Offered:
    """Send requests at random times over some seconds, each on a connection of its own."""
    chance = random.Random(times)  # noqa: S311 - the same times in every run
    start = perf_counter()

    async def one(request: bytes, at: float) -> Answer:
        await asyncio.sleep(start + at - perf_counter())
        connection = await Connection.open(port)
        try:
            return await connection.ask(request)
        finally:
            connection.close()

    watched: list[float] = []
    watches = [asyncio.create_task(_watch(port, path, watched)) for path in _WATCHED]
    answers = await asyncio.gather(*(one(request, chance.uniform(0, SECONDS)) for request in requests))
    for watch in watches:
        watch.cancel()
    await asyncio.gather(*watches, return_exceptions=True)
    return Offered(times, len(requests) / SECONDS, answers, watched)


async def _watch(port: int, path: str, times: list[float]) -> None:
    """Ask for a path again and again, noting milliseconds. Ends by cancel."""
    connection = await Connection.open(port)
    while True:
        times.append((await connection.ask(get(path))).ms)
        await asyncio.sleep(0.05)


def measure(passages: Passages, least_part: float) -> list[Offered]:
    """What a server does under each load, with the setting that says whom it refuses."""
    with ours(engine__least_part=least_part) as server:
        drive(server.port, iter(new_requests(passages, 10)), 1, 60)  # it learns what requests cost
        alone = drive(server.port, iter(new_requests(passages, 16)), 2, 60)
        return [
            run(offer(server.port, new_requests(passages, round(times * alone.per_second * SECONDS)), times))
            for times in LOADS
        ]


def report(rows: Sequence[Offered]) -> str:
    """A table, and whether the targets are met."""
    headings = ("load", "offered/s", "good/s", "answered", "refused", "read", "p50 / p95 ms", "health p99 / max ms")
    lines = [
        (
            f"{row.times}×",
            number(row.per_second),
            number(row.goodput),
            str(len(row.answered)),
            str(len(row.answers) - len(row.answered)),
            f"{number(mean(map(encoded, row.answered)))} of {DOCUMENTS}" if row.answered else "",
            _spread([answer.ms for answer in row.answered], 0.5, 0.95),
            _spread(row.watched_ms, 0.99, 1),
        )
        for row in rows
    ]
    peak = max(row.goodput for row in rows)
    there = next(row for row in rows if row.times == PEAK_AT)
    slowest = max(percentile(row.watched_ms, 0.99) for row in rows)
    kept = there.goodput / peak if peak else 0.0
    return (
        f"{table(headings, lines)}\n\n"
        f"At {PEAK_AT}× {100 * kept:.0f} % of the peak, target ≥ {100 * TARGET:.0f} %, {_met(kept >= TARGET)}. "
        f"Health and metrics: p99 {number(slowest)} ms, target ≤ {HEALTH_MS} ms, {_met(slowest <= HEALTH_MS)}. "
        f"Neither answered nor refused: {sum(row.wrong for row in rows)}."
    )


def _met(met: bool) -> str:
    return "met" if met else "**missed**"


def _spread(values: Sequence[float], *parts: float) -> str:
    return " / ".join(number(percentile(values, part)) for part in parts) if values else ""


def main() -> None:
    """Measure and print, with refusals and without."""
    passages = open_passages()
    for name, least_part in (
        ("As configured", EngineSettings().least_part),
        ("Nobody refused before the queue is full", 0),
    ):
        print(f"{name}\n\n{report(measure(passages, least_part))}\n", flush=True)


if __name__ == "__main__":
    main()
