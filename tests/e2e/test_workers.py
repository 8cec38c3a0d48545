"""Several worker processes are one service to whoever scrapes it, whichever of them answers."""

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
from tests.waiting import eventually

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
    """Two workers with a model without weights, and files of their own."""
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


def told(port: int) -> dict[str, float]:
    """What one of the workers tells, chosen by the kernel: each call is a new connection."""
    return parsed(httpx.get(f"http://127.0.0.1:{port}/metrics").text)


def told_when(port: int, true: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    """What is told once this is true of it."""
    return eventually(lambda: found if true(found := told(port)) else None)


def test_any_worker_tells_of_all(server):
    told_when(server.port, lambda found: found["ready"] == 2)
    sent = 0

    def both_were_asked() -> bool:
        nonlocal sent
        assert httpx.post(f"http://127.0.0.1:{server.port}/rerank", json=BODY).status_code == 200
        sent += 1
        return told(server.port)["cache_misses_total"] == 2 * 3  # each met our three texts

    eventually(both_were_asked)
    found = told_when(  # at once: a worker publishes one after the other
        server.port, lambda found: (found["cache_hits_total"], found["cache_entries"]) == (3 * (sent - 2), 6)
    )
    assert found["cache_misses_total"] == 6
    assert found["encoded_texts_total model=hash"] == 6
    assert found["documents_total read=encoded"] == 4
    assert found["workers"] == 2
    assert found["build_info model=hash version=0.1.0"] == 1
    alone = max(Server(server.port, pid).resident_mb() for pid in family(server.pid)[1:]) * 2**20
    assert found["process_memory_bytes"] > 1.5 * alone
    for _ in range(10):
        assert told(server.port)[RERANKED] == sent


def test_a_worker_that_was_killed_is_missed_and_what_it_counted_is_kept(server):
    before = told_when(server.port, lambda found: (found["ready"], found["cache_entries"]) == (2, 6))
    serving = [pid for pid in family(server.pid)[1:] if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(serving) == 2
    os.kill(serving[0], signal.SIGKILL)
    # The other one remembers three.
    after = told_when(server.port, lambda found: (found["ready"], found["cache_entries"]) == (2, 3))
    assert after["workers"] == 2
    assert after[RERANKED] == before[RERANKED]
    assert after["cache_misses_total"] == before["cache_misses_total"]  # the one in its place counts no probe


def test_a_port_of_their_own_tells_of_all_and_no_other_does(tmp_path):
    own = free_port()
    with served(tmp_path, metrics_port=str(own)) as server:
        assert httpx.get(f"http://127.0.0.1:{server.port}/metrics").status_code == 404
        found = told_when(own, lambda found: found["ready"] == 2)
        assert found["workers"] == 2
        asked = {"Accept": "application/openmetrics-text; version=1.0.0"}
        answer = httpx.get(f"http://127.0.0.1:{own}/metrics?name[]=qrerank_workers", headers=asked)
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert "qrerank_workers 2.0" in answer.text
