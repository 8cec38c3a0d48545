"""Metrics of several worker processes: each worker reports those of the whole service."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from benchmarks.server import Server, family, running
from scripts.trial import free_port
from tests.app.telemetry.test_metrics import BODY, parsed, series
from tests.waiting import PATIENT_S, eventually

pytestmark = pytest.mark.slow

RERANKED = series(
    "requests_total",
    route="/rerank",
    http_method="POST",
    dialect="standard",
    method="hybrid",
    tier="unlimited",
    status="200",
)


@contextmanager
def served(folder: Path, **operations: str) -> Iterator[Server]:
    """A server with two workers, the weight-free model, and its own data folder."""
    port = free_port()
    own = {"QRERANK_MODEL": "hash", "QRERANK_DATA_DIR": str(folder), "QRERANK_ENGINE__DRAIN_SECONDS": "0"}
    more = {f"QRERANK_OPERATIONS__{name.upper()}": value for name, value in operations.items()}
    command = [str(Path(sys.executable).parent / "qrerank"), "serve", "--port", str(port), "--workers", "2"]
    with running(command, port, "/health/ready", os.environ | own | more | {"TMPDIR": str(folder)}) as server:
        yield server
    assert not list(folder.glob("qrerank-metrics-*")), "the folder goes when the service does"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("service")) as server:
        yield server


def metrics_of(port: int) -> dict[str, float]:
    """The metrics from one worker, which the kernel selects for each new connection."""
    # Plain HTTP: to load the CAs takes 20 ms each time.
    return parsed(httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENT_S, verify=False).text)  # noqa: S501


def metrics_when(port: int, condition: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    """Wait until the metrics meet the condition; the metrics."""
    return eventually(lambda: metrics if condition(metrics := metrics_of(port)) else None)


def ask_both(port: int) -> int:
    """Rerank until both workers have encoded the three texts; return the number of requests."""
    metrics_when(port, lambda metrics: metrics["ready"] == 2)
    sent = 0

    def both_were_asked() -> bool:
        nonlocal sent
        assert httpx.post(f"http://127.0.0.1:{port}/rerank", json=BODY, timeout=PATIENT_S).status_code == 200
        sent += 1
        return metrics_of(port)["cache_misses_total"] == 2 * 3

    eventually(both_were_asked)
    return sent


def test_any_worker_tells_of_all(server):
    sent = ask_both(server.port)
    metrics = metrics_when(  # in one condition: a worker publishes them one by one
        server.port, lambda metrics: (metrics["cache_hits_total"], metrics["cache_entries"]) == (3 * (sent - 2), 6)
    )
    assert metrics["cache_misses_total"] == 6
    assert metrics["encoded_texts_total model=hash"] == 6
    assert metrics["documents_total read=encoded"] == 4
    assert metrics["workers"] == 2
    assert metrics["build_info model=hash version=0.1.0"] == 1
    alone = max(Server(server.port, pid).resident_mb() for pid in family(server.pid)[1:]) * 2**20
    assert metrics["process_memory_bytes"] > 1.5 * alone
    for _ in range(10):
        assert metrics_of(server.port)[RERANKED] == sent


def test_a_worker_that_was_killed_is_missed_and_what_it_counted_is_kept(server):
    ask_both(server.port)
    before = metrics_when(server.port, lambda metrics: (metrics["ready"], metrics["cache_entries"]) == (2, 6))
    serving = [pid for pid in family(server.pid)[1:] if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(serving) == 2
    os.kill(serving[0], signal.SIGKILL)

    def replaced(metrics: dict[str, float]) -> bool:
        assert httpx.get(f"http://127.0.0.1:{server.port}/health/ready", timeout=PATIENT_S).status_code == 200
        return (metrics["ready"], metrics["cache_entries"]) == (2, 3)  # the other worker has three texts cached

    after = metrics_when(server.port, replaced)
    assert after["workers"] == 2
    assert after[RERANKED] == before[RERANKED]
    assert after["cache_misses_total"] == before["cache_misses_total"]  # the new worker's probe does not count


def test_a_port_of_their_own_tells_of_all_and_no_other_does(tmp_path):
    own = free_port()
    with served(tmp_path, metrics_port=str(own)) as server:
        assert httpx.get(f"http://127.0.0.1:{server.port}/metrics", timeout=PATIENT_S).status_code == 404
        metrics = metrics_when(own, lambda metrics: metrics["ready"] == 2)
        assert metrics["workers"] == 2
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        answer = httpx.get(f"http://127.0.0.1:{own}/metrics?name[]=qrerank_workers", headers=accept, timeout=PATIENT_S)
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert "qrerank_workers 2.0" in answer.text
