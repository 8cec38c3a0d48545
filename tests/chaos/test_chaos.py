"""One client does its worst to a real server: what that costs in memory, and what others notice of it.

Prints a row for each attack: tried, memory that the server grew by, the slowest /health, the part of another caller's
requests that were served, and its memory a minute later. Part of `make soak`.
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
MOST_GROWTH = 400 * MIB
SLOWEST_S = 1.0
LEAST_SERVED = 0.9
RECOVERED = 1.2  # of the memory before
WITHIN_S = 60.0
QRERANK = Path(sys.executable).parent / "qrerank"
ASKED = {"query": "which bird sings at night", "documents": [f"the nightingale sings at {at}" for at in range(20)]}


@dataclass(frozen=True)
class Server:
    """A server process, and the keys of two callers, None where it needs none."""

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
    environment["QRERANK_CACHE__MAX_BYTES"] = str(32 * MIB)  # which new texts fill, and that is not given back
    if request.param == "keys":
        environment["QRERANK_AUTH__ENABLED"] = "true"
        records = open_records(AuthSettings(enabled=True), folder)
        keys = [records.keys.create(name, "user", "unlimited", None)[1] for name in ("greedy", "other")]
        records.database.close()
    with running([QRERANK, "serve"], environment, folder / "log") as (process, client):
        headers = {"X-API-Key": keys[1]} if keys[1] else {}
        for _ in range(50):  # so that what every server has after a while is there
            assert client.post("/rerank", json=ASKED, headers=headers).status_code == 200
        yield Server(psutil.Process(process.pid), client.base_url.port, *keys)


@dataclass
class Watch:
    """What others notice while a server is attacked."""

    server: Server
    most: int = 0
    slowest_s: float = 0.0
    asked: int = 0
    served: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def memory(self) -> None:
        while not self.over.wait(0.02):
            self.most = max(self.most, self.server.memory)

    def health(self) -> None:
        with self._client() as client:
            while not self.over.wait(0.1):
                begun = time.perf_counter()
                assert client.get("/health").status_code == 200
                self.slowest_s = max(self.slowest_s, time.perf_counter() - begun)

    def victim(self) -> None:
        headers = {"X-API-Key": self.server.other} if self.server.other else {}
        with self._client() as client:
            while not self.over.wait(0.2):
                self.asked += 1
                answer = client.post("/rerank", json=ASKED, headers=headers)
                self.served += answer.status_code == 200

    def _client(self) -> httpx.Client:
        other = httpx.HTTPTransport(local_address="127.0.0.2")  # where there are no keys, callers are told by address
        return httpx.Client(base_url=f"http://127.0.0.1:{self.server.port}", transport=other, timeout=PATIENT_S)


@contextmanager
def watched(server: Server) -> Iterator[Watch]:
    """Within the block, others use the server."""
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
    grown, served = watch.most - before, watch.served / max(1, watch.asked)
    begun = time.monotonic()
    recovered = True
    try:
        eventually(lambda: server.memory <= RECOVERED * before, WITHIN_S)
    except AssertionError:
        recovered = False
    end = (
        f"recovered in {time.monotonic() - begun:.0f} s"
        if recovered
        else f"holds {(server.memory - before) // MIB} MiB"
    )
    row = (
        f"{attack}: tried {done.stdout}, grew by {grown // MIB} MiB, /health {1e3 * watch.slowest_s:.0f} ms at most, "
        f"others served {served:.0%} of {watch.asked}, {end}"
    )
    record_property("row", row)
    sys.stdout.write(f"\n{row}")
    assert int(done.stdout) > 0
    assert grown <= MOST_GROWTH, row
    assert watch.slowest_s <= SLOWEST_S, row
    assert served >= LEAST_SERVED, row
    assert recovered, row
