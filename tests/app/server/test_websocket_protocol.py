"""WebSocket clients that send too many frames, never finish a message, or read no response, as raw bytes."""

import base64
import contextlib
import json
import os
import socket
import struct
import threading

import pytest
from websockets.frames import CloseCode

from app.settings import Settings
from tests.app.live import live
from tests.app.talking import SMALL, talking
from tests.waiting import PATIENT_S, eventually

TEXT, CONT, PING, END = 0x1, 0x0, 0x9, 0x80


@contextlib.contextmanager
def serving(tmp_path, monkeypatch, **limits):
    with live(Settings(data_dir=tmp_path, limits=limits), monkeypatch) as here:
        yield here


@contextlib.contextmanager
def handshaken(port: int):
    """A connection after the WebSocket handshake."""
    key = base64.b64encode(os.urandom(16))
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENT_S) as connection:
        connection.sendall(
            b"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
        )
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(1)
        assert received.startswith(b"HTTP/1.1 101")
        yield connection


def frame(first: int, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """A masked frame with this first byte; length: the length to declare, if not the payload's own."""
    size = len(payload) if length is None else length
    head = bytes([first])
    head += bytes([0x80 | size]) if size < 126 else bytes([0x80 | 127]) + struct.pack("!Q", size)
    return head + bytes(4) + payload  # with a mask of zeros


def closed(connection: socket.socket) -> int:
    """Read until the server closes the connection; its close code."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(65536):
            received += data
    at = received.rindex(b"\x88")
    return struct.unpack("!H", received[at + 2 : at + 4])[0]


def send(connection: socket.socket, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        connection.sendall(data)


@pytest.mark.parametrize(
    ("one", "most"),
    [(frame(CONT, b"x"), 4096), (frame(END | PING), 4096), (frame(END | PING, b"x" * 125), 64)],
    ids=["cont", "ping", "large"],
)
def test_the_rate_of_frames_is_limited(tmp_path, monkeypatch, one, most):
    # The pongs must fit into the buffers of the sockets: nobody reads before all is sent, and a reset loses the rest.
    monkeypatch.setattr("app.server.websocket_protocol._FRAMES", most)
    with serving(tmp_path, monkeypatch) as here, handshaken(here.port) as connection:
        send(connection, frame(TEXT, b"x") + one * 10_000)
        assert closed(connection) == CloseCode.PROTOCOL_ERROR
        eventually(lambda: here.connections == 0)


@pytest.mark.parametrize("fragments", [(b"{\xe9}",), (b'{"type": "\xc3', b'\x28"}')], ids=["whole", "in parts"])
def test_a_text_that_is_not_utf_8_ends_the_connection_and_logs_no_error(tmp_path, monkeypatch, caplog, fragments):
    with serving(tmp_path, monkeypatch) as here, handshaken(here.port) as connection:
        *first, last = fragments
        send(connection, b"".join(frame(TEXT, each) for each in first) + frame(END | (CONT if first else TEXT), last))
        assert closed(connection) == CloseCode.INVALID_DATA
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_message_may_come_in_fragments(tmp_path, monkeypatch):
    body = json.dumps(SMALL | {"id": 1}).encode()
    with serving(tmp_path, monkeypatch) as here, handshaken(here.port) as connection:
        send(connection, frame(TEXT, body[:1]) + b"".join(frame(CONT, body[at : at + 1]) for at in range(1, len(body))))
        send(connection, frame(END | PING) + frame(END | CONT))
        received = b""
        while b'"final"' not in received:
            received += connection.recv(65536)


def test_an_unfinished_message_times_out(tmp_path, monkeypatch):
    with serving(tmp_path, monkeypatch, body_seconds=1) as here:
        for unfinished in (frame(TEXT, b"x" * 100), frame(END | TEXT, b"x" * 100, length=1000)):
            with handshaken(here.port) as connection:
                send(connection, unfinished)
                assert closed(connection) == CloseCode.POLICY_VIOLATION
        with handshaken(here.port) as connection:  # an idle connection stays open
            connection.settimeout(2)
            with pytest.raises(TimeoutError):
                connection.recv(1)
        eventually(lambda: here.connections == 0)


def test_unfinished_messages_share_the_memory_of_bodies(tmp_path, monkeypatch):
    limits = {"body_bytes": 2**20, "all_bodies_bytes": 3 * 2**20}
    with serving(tmp_path, monkeypatch, **limits) as here, contextlib.ExitStack() as stack:
        bodies = here.app.state.dependencies.bodies
        for held in (700_000, 1_400_000, 2_100_000):
            send(stack.enter_context(handshaken(here.port)), frame(TEXT, b"x" * 700_000))
            eventually(lambda held=held: bodies.total == held)
        with handshaken(here.port) as connection:
            send(connection, frame(TEXT, b"x" * 700_000))  # more than three quarters of the memory
            assert closed(connection) == CloseCode.TRY_AGAIN_LATER
        stack.close()
        eventually(lambda: bodies.total == 0)
        with talking(here.port) as client:
            assert client.ask(SMALL | {"id": 1})["type"] == "final"


def test_a_message_that_is_too_large_is_refused(tmp_path, monkeypatch):
    with serving(tmp_path, monkeypatch, body_bytes=2**18) as here:
        with handshaken(here.port) as connection:
            send(connection, frame(END | TEXT, b"x" * (2**19 + 1)))
            assert closed(connection) == CloseCode.MESSAGE_TOO_BIG
        with talking(here.port) as client:
            for size in (2**18, 2**19 - 200):
                client.send(SMALL | {"padding": "x" * size})
                assert client.receive()["status"] == 413
            assert client.ask(SMALL | {"id": 2})["type"] == "final"


def test_a_client_that_reads_no_responses_is_disconnected(tmp_path, monkeypatch):
    request = SMALL | {"documents": ["owl " * 1000] * 20, "return_documents": True}
    with (
        serving(tmp_path, monkeypatch, body_seconds=1) as here,
        here.narrow() as narrow,
        talking(here.port, sock=narrow, max_queue=1) as client,
    ):
        for number in range(12):
            client.send(request | {"id": number})
        eventually(lambda: here.connections == 0)


def test_a_request_holds_its_memory_until_it_is_answered(tmp_path, monkeypatch):
    gate = threading.Event()
    with (
        live(Settings(data_dir=tmp_path), monkeypatch, lambda _: gate.wait(PATIENT_S)) as here,
        talking(here.port) as client,
    ):
        large = SMALL | {"id": 1, "documents": ["owl " * 50_000]}
        client.send(large)
        eventually(lambda: here.app.state.dependencies.bodies.total >= 2 * 200_000)
        client.send({"type": "ping"})
        client.until(None, "pong")
        assert here.app.state.dependencies.bodies.total >= 2 * 200_000
        gate.set()
        client.until(1, "final")
        eventually(lambda: here.app.state.dependencies.bodies.total == 0)
