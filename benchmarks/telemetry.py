"""What metrics, time headers and the access log cost a request: `python -m benchmarks.telemetry` prints the table.

A real server with the default model ranks 100 documents that it knows, over one connection. What is told of such a
request is then done over and over in a process of its own, without a server: once with the metrics' values in memory,
as one process keeps them, once with them in files, as several workers do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import timeit
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson

from app.api.middleware.request_record import note
from app.identity import ANONYMOUS
from app.ranking.job import Lap
from app.service.result import WorkDone
from app.settings import LogSettings
from app.telemetry.request_record import RequestRecord
from benchmarks.corpus import open_passages
from benchmarks.measure import percentile
from benchmarks.ours import request
from benchmarks.report import number, table
from benchmarks.server import ours
from benchmarks.wire import get, in_turn

DOCUMENTS = 100
TARGET = 0.01  # of a request
PARTS = {"metrics": "metrics", "headers": "Server-Timing and x-…-time", "log": "access log, one JSON line"}
MODES = {"memory": "in memory, µs", "files": "in files, µs"}
_REQUESTS, _SCRAPES = 200, 30
_CALLS, _ROUNDS = 2000, 7
_SELF = "benchmarks.telemetry"

Microseconds = Mapping[str, float]  # by part


@dataclass(frozen=True)
class Server:
    """What a real one took."""

    p50_ms: float  # of a request
    stages_ms: Mapping[str, float]
    metrics_ms: float  # median of GET /metrics


def main() -> None:
    """Measure and print; with laps on standard input, do the one part that wants a process of its own."""
    if sys.argv[1:] == ["--alone"]:
        print(json.dumps(alone(json.load(sys.stdin))))
        return
    one = measure(workers=1)
    two = measure(workers=2)
    costs = {mode: in_a_process(one.stages_ms, files=mode == "files") for mode in MODES}
    print(report(one, two, costs))


def measure(workers: int) -> Server:
    """Ask a real server, whose texts are known from the first request on."""
    asked = request(open_passages().tasks(1, DOCUMENTS)[0], deadline_ms=0)
    with ours(workers=workers, logs__access_sample=1) as server:
        answers = in_turn(server.port, [asked] * (1 + _REQUESTS))[1:]
        scrapes = in_turn(server.port, [get("/metrics")] * _SCRAPES)
    meta = orjson.loads(answers[-1].body)["meta"]
    return Server(
        percentile([answer.ms for answer in answers], 0.5),
        {"queue": 0.1} | meta["timings_ms"] | {"serialise": 0.1},  # an answer cannot hold how long it took to write
        percentile([answer.ms for answer in scrapes], 0.5),
    )


def in_a_process(stages_ms: Mapping[str, float], *, files: bool) -> Microseconds:
    """What each part takes in a process that keeps values in files, or in memory."""
    with tempfile.TemporaryDirectory() as folder:
        own = {"PROMETHEUS_MULTIPROC_DIR": folder} if files else {}
        command = [sys.executable, "-m", _SELF, "--alone"]
        out = subprocess.run(  # noqa: S603 - ours
            command,
            input=json.dumps(stages_ms).encode(),
            env=os.environ | own,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # where the access log goes
            check=True,
        ).stdout
    found: Microseconds = json.loads(out)
    return found


def alone(stages_ms: Mapping[str, float]) -> Microseconds:
    """What each part takes for a request with these stages."""
    from app.api.middleware.request_record import times
    from app.api.problems import KINDS
    from app.telemetry.access_log import log_requests  # not before: prometheus_client decides where values are kept
    from app.telemetry.logs import set_up
    from app.telemetry.metrics import Metrics
    from app.telemetry.request_metrics import count_requests

    set_up(LogSettings(format="json"))
    seen = typical(stages_ms)
    count, log = count_requests(Metrics(), KINDS), log_requests(1.0)
    parts: dict[str, Callable[[], object]] = {
        "metrics": lambda: count(seen),
        "headers": lambda: times(seen, seen.status),
        "log": lambda: log(seen),
    }
    return {
        name: min(timeit.repeat(part, number=_CALLS, repeat=_ROUNDS)) / _CALLS * 1e6 for name, part in parts.items()
    }


def typical(stages_ms: Mapping[str, float]) -> RequestRecord:
    """A request as the server saw it."""
    seen = RequestRecord("0" * 32, "POST", "/rerank", status=200, identity=ANONYMOUS, dialect="standard", seconds=0.01)
    laps = [Lap(stage, 0, ms / 1e3) for stage, ms in stages_ms.items()]
    note(seen, WorkDone(DOCUMENTS, 216 * DOCUMENTS, "all-MiniLM-L6-v2", "hybrid", DOCUMENTS, laps=laps))
    return seen


def report(one: Server, two: Server, costs: Mapping[str, Microseconds]) -> str:
    """The table, and whether the target is met."""
    rows = [(text, *(number(costs[mode][part]) for mode in MODES)) for part, text in PARTS.items()]
    sums = [sum(costs[mode].values()) for mode in MODES]
    shares = [us / 1e3 / one.p50_ms for us in sums]
    rows.append(("together", *map(number, sums)))
    rows.append((f"of a request of {number(one.p50_ms)} ms", *(f"{share:.2%}" for share in shares)))
    met = "met" if max(shares) <= TARGET else "**missed**"
    return (
        f"{table(('a request', *MODES.values()), rows)}\n\n"
        f"{max(shares):.2%} of a warm request of {DOCUMENTS} documents at most, target ≤ {TARGET:.0%}, {met}. "
        f"GET /metrics takes {number(one.metrics_ms)} ms (p50) of one process and {number(two.metrics_ms)} ms of two."
    )


if __name__ == "__main__":
    main()
