"""Cancellation of work whose client disconnects, on a real socket of a real server."""

import json
import socket
import threading

import pytest

from app.settings import Settings
from tests.app.live import live
from tests.waiting import PATIENT_S, eventually


@pytest.fixture
def held(tmp_path, monkeypatch):
    """A server whose encoder blocks until the event is set, that event, and the encoded texts."""
    go, encoded = threading.Event(), []

    def hold(batch):
        encoded.extend(batch)
        assert go.wait(PATIENT_S)

    settings = Settings(data_dir=tmp_path, engine={"requests": 1, "queue_requests": 0})
    with live(settings, monkeypatch, hold) as here:
        yield here, go, encoded
        go.set()


def send(port: int, documents: int) -> socket.socket:
    body = json.dumps(
        {"query": "owl", "deadline_ms": 0, "documents": [f"{i} " + "owl song " * 6 for i in range(documents)]}
    ).encode()
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(b"POST /rerank HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return connection


def test_work_stops_and_frees_its_slot_when_the_client_disconnects(held):
    here, go, encoded = held
    leaving = send(here.port, 200)
    eventually(lambda: encoded)
    with send(here.port, 1) as refused:
        assert b"503 " in refused.recv(4096)
    leaving.close()
    eventually(here.called_off)
    go.set()
    assert here.is_free()
    with send(here.port, 1) as staying:
        assert b"200 OK" in staying.recv(4096)
    assert len(encoded) < 100
