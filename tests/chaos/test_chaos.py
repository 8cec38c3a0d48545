"""Attacks of one client on a real server: their cost in memory, and their effect on other clients.

Prints a row for each attack: the number of attempts, the growth of memory, the slowest /health, the share of another
caller's requests that succeeded, and whether memory recovered within a minute. Part of `make soak`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest

from app.auth.settings import AuthSettings
from app.auth.stores import open_records
from tests.chaos.attacks import ATTACKS, MIB
from tests.processes import running
from tests.waiting import PATIENT_S, eventually

pytestmark = pytest.mark.soak

SECONDS = 12.0
MAX_GROWTH = 400 * MIB
SLOWEST_S = 1.0
MIN_SERVED = 0.9
RECOVERED = 1.2  # times the memory before the attack
WITHIN_S = 60.0
QRERANK = Path(sys.executable).parent / "qrerank"
BODY = {"query": "which bird sings at night", "documents": [f"the nightingale sings at {at}" for at in range(20)]}


@dataclass(frozen=True)
class Server:
    """A server process and the keys of two callers; None if authentication is off."""

    process: psutil.Process
    port: int
    greedy: str | None
    other: str | None

    @property
    def memory(self) -> int:
        return self.process.memory_info().rss


@pytest.fixture(scope="module", params=["keys", "no keys"])
def server(request, tmp_path_factory) -> Iterator[Server]:
    folder, keys = tmp_path_factory.mktemp("data"), [None, None]
    environment = os.environ | {"QRERANK_DATA_DIR": str(folder), "QRERANK_ENGINE__DRAIN_SECONDS": "0"}
    environment["QRERANK_CACHE__MAX_BYTES"] = str(32 * MIB)  # new texts fill it, and its memory is not freed
    if request.param == "keys":
        environment["QRERANK_AUTH__ENABLED"] = "true"
        records = open_records(AuthSettings(enabled=True), folder)
        keys = [records.keys.create(name, "user", "unlimited", None)[1] for name in ("greedy", "other")]
        records.database.close()
    with running([QRERANK, "serve"], environment, folder / "log") as (process, client):
        headers = {"X-API-Key": keys[1]} if keys[1] else {}
        for _ in range(50):  # warm up
            assert client.post("/rerank", json=BODY, headers=headers).status_code == 200
        yield Server(psutil.Process(process.pid), client.base_url.port, *keys)


@dataclass
class Watch:
    """Measures the server from outside while it is attacked."""

    server: Server
    most: int = 0
    slowest_s: float = 0.0
    requests: int = 0
    served: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def memory(self) -> None:
        while not self.over.wait(0.02):
            self.most = max(self.most, self.server.memory)

    def health(self) -> None:
        with self._client() as client:
            while not self.over.wait(0.1):
                start = time.perf_counter()
                assert client.get("/health").status_code == 200
                self.slowest_s = max(self.slowest_s, time.perf_counter() - start)

    def victim(self) -> None:
        headers = {"X-API-Key": self.server.other} if self.server.other else {}
        with self._client() as client:
            while not self.over.wait(0.2):
                self.requests += 1
                answer = client.post("/rerank", json=BODY, headers=headers)
                self.served += answer.status_code == 200

    def _client(self) -> httpx.Client:
        other = httpx.HTTPTransport(local_address="127.0.0.2")  # without keys, callers are identified by address
        return httpx.Client(base_url=f"http://127.0.0.1:{self.server.port}", transport=other, timeout=PATIENT_S)


@contextmanager
def watched(server: Server) -> Iterator[Watch]:
    """Measure the server within the block."""
    watch = Watch(server, server.memory)
    threads = [threading.Thread(target=work) for work in (watch.memory, watch.health, watch.victim)]
    for thread in threads:
        thread.start()
    try:
        yield watch
    finally:
        watch.over.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_costs_others_little(server, attack, record_property):
    before = server.memory
    command = [sys.executable, "-m", "tests.chaos.attacks", attack, str(server.port), str(SECONDS)]
    with watched(server) as watch:
        done = subprocess.run(  # noqa: S603 - ours
            [*command, *filter(None, [server.greedy])], capture_output=True, text=True, check=True, timeout=300
        )
    growth, served = watch.most - before, watch.served / max(1, watch.requests)
    start = time.monotonic()
    recovered = True
    try:
        eventually(lambda: server.memory <= RECOVERED * before, WITHIN_S)
    except AssertionError:
        recovered = False
    end = (
        f"recovered in {time.monotonic() - start:.0f} s"
        if recovered
        else f"holds {(server.memory - before) // MIB} MiB"
    )
    row = (
        f"{attack}: tried {done.stdout}, grew by {growth // MIB} MiB, /health {1e3 * watch.slowest_s:.0f} ms at most, "
        f"others served {served:.0%} of {watch.requests}, {end}"
    )
    record_property("row", row)
    sys.stdout.write(f"\n{row}")
    assert int(done.stdout) > 0
    assert growth <= MAX_GROWTH, row
    assert watch.slowest_s <= SLOWEST_S, row
    assert served >= MIN_SERVED, row
    assert recovered, row
