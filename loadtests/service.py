"""The service under load: started with keys of every tier, warmed, and its memory watched."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil

from app.auth.settings import AuthSettings
from app.auth.stores import open_records
from app.identity import Tier
from benchmarks.server import running
from loadtests.pool import TOP_N, Traffic
from scripts.trial import free_port

KEYS: Mapping[Tier, int] = {"public": 500, "standard": 300, "premium": 200, "unlimited": 1}  # as many as users at once
_ENOUGH = 10**9  # similarities an hour: the real budgets are for days of use, not for a load without a pause
_BATCH = 50  # passages of one request of the warm-up
_READY_WITHIN_S = 180.0
_MOST_ROUNDS = 30
_PATIENCE = 30  # seconds, with a server that is not ready or has too much to do
_CALM_MS = 200.0  # encoding a batch of passages takes several times as long, of a query a small part


@dataclass(frozen=True)
class Target:
    """Where requests go."""

    url: str
    key: str | None  # for the warm-up
    keys: Path | None  # every tier's, as a JSON file
    pids: Sequence[int]  # the servers' processes; none of a service elsewhere


def environment(data: Path, settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment of a server that asks for keys and has the usual limits, but for similarities an hour."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QRERANK_")}
    kept |= {name: os.environ[name] for name in ("QRERANK_MODEL_DIR", "QRERANK_MODEL") if name in os.environ}
    tiers = {
        f"QRERANK_QUOTAS__{tier}__SIMILARITIES_PER_HOUR": str(_ENOUGH) for tier in ("PUBLIC", "STANDARD", "PREMIUM")
    }
    usual = {"QRERANK_DATA_DIR": str(data), "QRERANK_AUTH__ENABLED": "true", "QRERANK_ENGINE__DRAIN_SECONDS": "0"}
    return kept | usual | tiers | dict(settings or {})


@contextmanager
def started(workers: int = 1, instances: int = 1, settings: Mapping[str, str] | None = None) -> Iterator[list[Target]]:
    """So many servers with so many worker processes each, ready, with the same keys; all end in the end."""
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loadtests-")))
        keys = create_keys(data)
        path = data / "load-keys.json"
        path.write_bytes(orjson.dumps(keys))
        targets = []
        for _ in range(instances):
            port = free_port()
            command = [str(Path(sys.executable).parent / "qrerank"), "serve", "--port", str(port)]
            server = stack.enter_context(
                running([*command, "--workers", str(workers)], port, "/health/ready", environment(data, settings))
            )
            targets.append(Target(f"http://127.0.0.1:{port}", keys["unlimited"][0], path, [server.pid]))
        yield targets


def create_keys(folder: Path) -> dict[str, list[str]]:
    """New keys of every tier in the data folder's database."""
    records = open_records(AuthSettings(enabled=True), folder)
    keys: dict[str, list[str]] = {
        tier: [records.keys.create(f"load {number}", "user", tier, None)[1] for number in range(count)]
        for tier, count in KEYS.items()
    }
    records.database.close()
    return keys


def wait_until_ready(url: str) -> None:
    """Wait for a service that somebody else started; RuntimeError if it does not get ready."""
    end = time.monotonic() + _READY_WITHIN_S
    while True:
        try:
            if httpx.get(f"{url}/health/ready", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > end:
            raise RuntimeError(f"{url} did not get ready within {_READY_WITHIN_S:.0f} s; is the address right?")
        time.sleep(0.5)


def warm(target: Target, traffic: Traffic, step: Callable[[int, int], object] = lambda *_: None) -> None:
    """Have the service read every passage of the pool and every query, one request at a time.

    step: gets how much is done, and of how much. RuntimeError for a request that is not answered.
    """
    asked = [("/rerank", body) for body in _whole_pool(traffic)]
    asked += [("/rerank", body) for body in traffic.bodies["large"]]
    asked += [("/v1/similarity", body) for body in traffic.bodies["similarity"]]
    with _client(target) as client:
        for done, (path, body) in enumerate(asked, 1):
            _post(client, path, body)
            step(done, len(asked))


def warm_workers(target: Target, traffic: Traffic, workers: int) -> None:
    """Warm every process of a server; RuntimeError if one stays cold.

    Which process answers is the kernel's choice, made for each connection. So some connections at once ask for the
    whole pool, again and again, until twice in a row no answer took the time of encoding.
    """
    bodies, calm = _whole_pool(traffic), 0
    with ThreadPoolExecutor(2 * workers) as threads:
        for _ in range(_MOST_ROUNDS):
            slowest = max(threads.map(lambda _: _encoding_ms(target, bodies), range(2 * workers)))
            calm = calm + 1 if slowest < _CALM_MS else 0
            if calm == 2:
                return
    raise RuntimeError(f"after {_MOST_ROUNDS} rounds of the warm-up an answer still took {slowest:.0f} ms of encoding")


def _whole_pool(traffic: Traffic) -> list[bytes]:
    texts, query = traffic.passages, traffic.queries[0]
    batches = [texts[at : at + _BATCH] for at in range(0, len(texts), _BATCH)]
    return [orjson.dumps({"query": query, "documents": batch, "top_n": TOP_N, "deadline_ms": 0}) for batch in batches]


def _encoding_ms(target: Target, bodies: Sequence[bytes]) -> float:
    """The most that encoding took of any of these requests, over one new connection."""
    with _client(target) as client:
        return max(float(_post(client, "/rerank", body)["meta"]["timings_ms"].get("encode", 0)) for body in bodies)


def _client(target: Target) -> httpx.Client:
    headers = {"content-type": "application/json"}
    headers |= {"authorization": f"Bearer {target.key}"} if target.key else {}
    return httpx.Client(base_url=target.url, headers=headers, timeout=60)


def _post(client: httpx.Client, path: str, body: bytes) -> dict[str, Any]:
    for _ in range(_PATIENCE):
        response = client.post(path, content=body)
        if response.status_code != 503:
            break
        time.sleep(1)  # one of several processes may not be ready yet
    if response.status_code != 200:
        raise RuntimeError(f"the warm-up was answered {response.status_code}: {response.text[:300]}")
    answer: dict[str, Any] = response.json()
    return answer


class MemoryWatch:
    """Reads every second what memory some processes and their children hold."""

    def __init__(self, pids: Sequence[int]) -> None:
        """Begin; with no processes nothing is read."""
        self.readings: list[tuple[float, float]] = []  # seconds since the epoch, MB
        self._processes = [psutil.Process(pid) for pid in pids]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        if pids:
            self._thread.start()

    def stop(self) -> None:
        """Read no more."""
        self._over.set()
        if self._processes:
            self._thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            try:
                self.readings.append((time.time(), sum(map(_megabytes, self._processes))))
            except psutil.NoSuchProcess:  # the server died: the requests tell of it
                return
            self._over.wait(1.0)


def _megabytes(process: psutil.Process) -> float:
    """Resident memory of a process and its descendants, MB (10⁶ bytes); pages that they share count for each."""
    return sum(float(each.memory_info().rss) for each in (process, *process.children(recursive=True))) / 1e6
