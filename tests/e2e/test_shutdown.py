"""SIGTERM under load: readiness fails, requests in flight finish, exit status 0, no lost responses."""

import http.client
import json
import os
import signal
import sys
import threading
from pathlib import Path

import httpx
import pytest

from tests.app.talking import connect
from tests.processes import is_ready, running
from tests.waiting import PATIENT_S, eventually

BODY = json.dumps({"query": "owl song", "documents": ["market prices", "an owl song"] * 20}).encode()
LONG = json.dumps(
    {"query": "owl song", "deadline_ms": 0, "documents": [f"{i} " + f"owl{i} song " * 200 for i in range(400)]}
).encode()
CLIENTS = 4


class Clients:
    """Threads that send requests on persistent connections while the service is ready."""

    def __init__(self, port: int) -> None:
        self.port, self.sent, self.statuses = port, list[int](), list[int]()
        self.begun: set[str] = set()
        self.others: dict[str, int] = {}
        self.ready = True
        self.threads = [threading.Thread(target=self._hammer) for _ in range(CLIENTS)]
        self.threads.append(threading.Thread(target=self._watch))
        self.threads.append(threading.Thread(target=self._long))
        self.threads.append(threading.Thread(target=self._stream))
        self.threads.append(threading.Thread(target=self._socket))
        for thread in self.threads:
            thread.start()

    def _watch(self) -> None:
        """Poll readiness, as a load balancer does."""
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=PATIENT_S) as client:
            eventually(lambda: not is_ready(client), 2 * PATIENT_S)
        self.ready = False

    def _hammer(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENT_S)
        while self.ready:
            self.sent.append(1)
            connection.request("POST", "/rerank", BODY)
            response = connection.getresponse()
            response.read()
            self.statuses.append(response.status)

    def _long(self) -> None:
        self.others["long"] = httpx.post(
            f"http://127.0.0.1:{self.port}/rerank", content=LONG, timeout=PATIENT_S
        ).status_code

    def _stream(self) -> None:
        address = f"http://127.0.0.1:{self.port}/v1/rerank/stream"
        with httpx.stream("POST", address, content=LONG, timeout=PATIENT_S) as response:
            lines = response.iter_lines()
            assert next(lines) == "event: order"
            self.begun.add("stream")
            self.others["stream"] = list(lines).count("event: final")

    def _socket(self) -> None:
        with connect(f"ws://127.0.0.1:{self.port}/v1/ws", max_size=None) as connection:
            connection.send(json.dumps(json.loads(LONG) | {"type": "rerank", "id": 1}))
            while '"type":"final"' not in connection.recv(timeout=PATIENT_S)[:100]:
                self.begun.add("socket")
            self.others["socket"] = 1


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_nothing_is_lost_when_the_server_is_told_to_stop(tmp_path, workers, count):
    command = [Path(sys.executable).parent / "qrerank", "serve", "--workers", str(workers)]
    own = {"QRERANK_DATA_DIR": str(tmp_path), "QRERANK_MODEL": "hash", "QRERANK_ENGINE__DRAIN_SECONDS": "5"}
    with running(command, os.environ | own, tmp_path / "log") as (process, client):
        clients = Clients(client.base_url.port)
        eventually(lambda: clients.begun == {"stream", "socket"} and len(clients.statuses) > 5)
        assert clients.ready
        process.send_signal(signal.SIGTERM)
        for thread in clients.threads:
            thread.join(2 * PATIENT_S)
        assert process.wait(PATIENT_S) == 0
    assert clients.others == {"long": 200, "stream": 1, "socket": 1}
    answered = clients.statuses.count(200)
    count("requests while the server stops", len(clients.sent) + 3, 0, answered + 3)
    assert not clients.ready  # readiness failed before the server stopped
    assert answered > 5
