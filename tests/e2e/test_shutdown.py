"""SIGTERM under load: not ready, in-flight requests finish, exit 0, nothing lost."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

BODY = json.dumps({"query": "owl song", "documents": ["market prices", "an owl song"] * 20}).encode()
LONG = json.dumps(
    {"query": "owl song", "deadline_ms": 0, "documents": [f"{i} " + f"owl{i} song " * 200 for i in range(700)]}
).encode()
CLIENTS = 4


def start(folder: Path, workers: int) -> tuple[subprocess.Popen[bytes], int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "QRERANK_DATA_DIR": str(folder),
        "QRERANK_MODEL": "hash",
        "QRERANK_ENGINE__DRAIN_SECONDS": "1.5",
    }
    command = [Path(sys.executable).parent / "qrerank", "serve", "--port", str(port), "--workers", str(workers)]
    process = subprocess.Popen(command, env=environment)  # noqa: S603 - our own command
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None and not ready(port):
        time.sleep(0.1)
    return process, port


def ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


class Clients:
    """Threads that send requests on kept connections for as long as the service is ready."""

    def __init__(self, port: int) -> None:
        self.port, self.sent, self.told = port, list[int](), list[int]()
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
        """What a load balancer does."""
        while self.ready:
            self.ready = ready(self.port)
            time.sleep(0.05)

    def _hammer(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while self.ready:
            self.sent.append(1)
            connection.request("POST", "/rerank", BODY)
            response = connection.getresponse()
            response.read()
            self.told.append(response.status)

    def _long(self) -> None:
        self.others["long"] = httpx.post(f"http://127.0.0.1:{self.port}/rerank", content=LONG, timeout=60).status_code

    def _stream(self) -> None:
        address = f"http://127.0.0.1:{self.port}/v1/rerank/stream"
        self.others["stream"] = httpx.post(address, content=LONG, timeout=60).text.count("event: final")

    def _socket(self) -> None:
        with connect(f"ws://127.0.0.1:{self.port}/v1/ws", max_size=None) as connection:
            connection.send(json.dumps(json.loads(LONG) | {"type": "rerank", "id": 1}))
            while '"type":"final"' not in connection.recv(timeout=60)[:100]:
                pass
            self.others["socket"] = 1


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_nothing_is_lost_when_the_server_is_told_to_stop(tmp_path, workers, count):
    process, port = start(tmp_path, workers)
    clients = Clients(port)
    time.sleep(1)
    assert ready(port)
    process.send_signal(signal.SIGTERM)
    for thread in clients.threads:
        thread.join(60)
    assert process.wait(30) == 0
    assert clients.others == {"long": 200, "stream": 1, "socket": 1}
    answered = clients.told.count(200)
    count("requests while the server stops", len(clients.sent) + 3, 0, answered + 3)
    assert not clients.ready  # it said so while it still answered
    assert answered > 5
