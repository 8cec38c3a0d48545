"""Clients that open too many connections, or do not read their responses, on real sockets of a real server."""

import contextlib
import json
import socket

import pytest

from app.settings import Settings
from tests.app.live import live
from tests.waiting import PATIENT_S, eventually

OWLS = json.dumps({"query": "owl", "documents": ["owl " * 50_000], "return_documents": True, "deadline_ms": 1}).encode()


@contextlib.contextmanager
def serving(tmp_path, monkeypatch, **limits):
    settings = Settings(data_dir=tmp_path, limits=limits)
    with live(settings, monkeypatch) as here:
        yield here


def post(body: bytes) -> bytes:
    return b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def get(port: int) -> bytes:
    """The response to GET /health on a new connection, or to the connection itself."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENT_S) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = b""
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(65536):
                received += data
        return received


def test_the_connections_of_one_address_are_limited(tmp_path, monkeypatch):
    with serving(tmp_path, monkeypatch, connections=8) as here, contextlib.ExitStack() as stack:
        for _ in range(6):  # three quarters
            stack.enter_context(socket.create_connection(("127.0.0.1", here.port)))
        eventually(lambda: here.connections == 6)
        received = get(here.port)
        assert received.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in received.lower()
        assert b"too many connections" in received
        stack.close()
        eventually(lambda: here.connections == 0)
        assert get(here.port).startswith(b"HTTP/1.1 200 ")


def test_a_connection_whose_client_does_not_read_is_aborted_in_time(tmp_path, monkeypatch):
    with serving(tmp_path, monkeypatch, body_seconds=1) as here, here.narrow() as connection:
        connection.sendall(post(OWLS) * 3)
        eventually(lambda: here.connections == 1)
        eventually(lambda: here.connections == 0)


def test_a_client_that_reads_slowly_gets_the_whole_response(tmp_path, monkeypatch):
    with serving(tmp_path, monkeypatch, body_seconds=10) as here, here.narrow() as connection:
        connection.sendall(post(OWLS))
        received = b""
        while b'"usage"' not in received:
            data = connection.recv(4096)
            assert data
            received += data
        assert received.count(b"owl owl") > 2


def test_above_the_limit_of_all_unsent_bytes_the_fullest_connection_is_aborted(tmp_path, monkeypatch):
    with serving(tmp_path, monkeypatch, all_answers_bytes=2**19) as here:
        with here.narrow() as small, here.narrow() as large:
            small.sendall(post(OWLS.replace(b"owl " * 25_000, b"", 1)))
            eventually(lambda: here.unsent > 100_000)
            large.sendall(post(OWLS))  # twice 200 000 bytes
            eventually(lambda: here.connections == 1)
            small.settimeout(PATIENT_S)
            received = b""
            while b'"usage"' not in received:
                received += small.recv(65536)
        assert get(here.port).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("path", [b"/v1/rerank", b"/v1/rerank/stream"])
def test_pipelined_requests_are_not_read_ahead(tmp_path, monkeypatch, path):
    with serving(tmp_path, monkeypatch, body_seconds=1) as here, here.narrow() as connection:
        connection.settimeout(2)
        one = post(OWLS).replace(b"/v1/rerank", path)
        sent = 0
        with contextlib.suppress(TimeoutError, ConnectionError):
            while sent < 50:
                connection.sendall(one)
                sent += 1
        assert sent < 40  # only what the sockets' buffers hold
        eventually(lambda: here.connections == 0)
