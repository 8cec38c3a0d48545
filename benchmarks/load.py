"""Many clients at once: each sends its next request when it has its answer, for some seconds."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter, process_time

from benchmarks.measure import percentile
from benchmarks.wire import Connection, get, in_turn, run

HEALTH_EVERY_S = 0.02
_LAG = "qrerank_event_loop_lag_seconds"
_ENCODED = re.compile(rb'"encoded":(\d+)')
_BUCKET = re.compile(_LAG + r'_bucket\{le="([^"]+)"\} (\S+)')


@dataclass(frozen=True)
class Load:
    """What so many clients got."""

    clients: int
    seconds: float
    ms: Sequence[float]  # of each answered request
    errors: int  # answers other than 200
    encoded: Sequence[int]  # of each answered request, documents scored by their states
    client_cpu: float  # share of one processor that the clients themselves took
    health_ms: Sequence[float]  # of GET /health meanwhile

    @property
    def per_second(self) -> float:
        """Requests answered a second."""
        return len(self.ms) / self.seconds

    def p(self, percent: float) -> float:
        """Milliseconds within which so many per cent of the requests were answered."""
        return percentile(self.ms, percent / 100)


def drive(port: int, supply: Iterator[bytes], clients: int, seconds: float) -> Load:
    """Let `clients` draw requests from a supply for so many seconds; those under way are waited for."""
    return run(_drive(port, supply, clients, seconds))


async def _drive(port: int, supply: Iterator[bytes], clients: int, seconds: float) -> Load:
    times: list[float] = []
    encoded: list[int] = []
    errors = 0
    connections = [await Connection.open(port) for _ in range(clients)]
    start, cpu = perf_counter(), process_time()

    async def client(connection: Connection) -> None:
        nonlocal errors
        while perf_counter() < start + seconds:
            request = next(supply, None)
            if request is None:
                break
            answer = await connection.ask(request)
            if answer.status == 200:
                times.append(answer.ms)
                encoded.extend(map(int, _ENCODED.findall(answer.body)))
            else:
                errors += 1
        connection.close()

    health: list[float] = []
    probe = asyncio.create_task(_watch_health(port, health))
    await asyncio.gather(*map(client, connections))
    elapsed = perf_counter() - start
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    return Load(clients, elapsed, times, errors, encoded, (process_time() - cpu) / elapsed, health)


async def _watch_health(port: int, times: list[float]) -> None:
    """Ask GET /health again and again, noting milliseconds. Ends by cancel."""
    connection = await Connection.open(port)
    while True:
        times.append((await connection.ask(get("/health"))).ms)
        await asyncio.sleep(HEALTH_EVERY_S)


def lag_buckets(port: int) -> dict[float, float]:
    """The server's own count of event-loop lags, by upper bound in seconds; empty where it keeps none."""
    return buckets_of(in_turn(port, [get("/metrics")])[0].body.decode())


def buckets_of(metrics: str) -> dict[float, float]:
    """Cumulative counts by upper bound in seconds, from Prometheus' text format."""
    return {float(bound): float(count) for bound, count in _BUCKET.findall(metrics)}


def lag_within(before: dict[float, float], after: dict[float, float], share: float) -> float | None:
    """Seconds that this share of the lags between two readings stayed within, as a bucket's bound; None for none."""
    counts = {bound: count - before.get(bound, 0.0) for bound, count in sorted(after.items())}
    total = max(counts.values(), default=0.0)
    return next((bound for bound, count in counts.items() if count >= share * total), None) if total else None
