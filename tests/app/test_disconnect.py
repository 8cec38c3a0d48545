"""A client that leaves stops costing time, on a real socket of a real server."""

import json
import socket
import time

import pytest

from app.settings import Settings
from tests.app.live import live


@pytest.fixture
def slow_server(tmp_path, monkeypatch):
    """A server whose encoder takes 50 ms a text; yields its port and the texts that it encoded."""
    encoded = []

    def slow(batch):
        time.sleep(0.05 * len(batch))
        encoded.extend(batch)

    settings = Settings(data_dir=tmp_path, engine={"requests": 1, "queue_requests": 0})
    with live(settings, monkeypatch, slow) as here:
        yield here.port, encoded


def send(port: int, documents: int) -> socket.socket:
    body = json.dumps(
        {"query": "owl", "deadline_ms": 0, "documents": [f"{i} " + "owl song " * 6 for i in range(documents)]}
    ).encode()
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(b"POST /rerank HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return connection


def test_work_stops_when_the_client_leaves_and_its_place_is_free(slow_server):
    port, encoded = slow_server
    leaving = send(port, 200)  # ten seconds of work
    while not encoded:
        time.sleep(0.01)
    leaving.close()
    answer = b""
    end = time.monotonic() + 5
    while b"200 OK" not in answer and time.monotonic() < end:
        with send(port, 1) as staying:  # 503 until the only place is free
            answer = staying.recv(4096)
    assert b"200 OK" in answer
    assert len(encoded) < 100
