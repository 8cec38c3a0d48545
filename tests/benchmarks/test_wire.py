import json
import os
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from threading import Thread

import pytest

from benchmarks.load import drive
from benchmarks.server import running
from benchmarks.wire import first_chunk_ms, get, in_turn, post, run
from scripts.trial import free_port
from tests.waiting import PATIENT_S


class Echo(BaseHTTPRequestHandler):
    """Answers a POST with what it was sent, and a GET of /health with 200."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self._answer(200, self.rfile.read(int(self.headers["content-length"])))

    def do_GET(self) -> None:
        if self.path == "/stream":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n")
            return
        self._answer(200 if self.path == "/health" else 404, b"no such page")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *parts: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        Thread(target=server.serve_forever).start()
        yield server.server_port
        server.shutdown()


def test_bodies_arrive_whole_and_in_turn(port):
    bodies = [json.dumps({"encoded": i, "padding": "x" * 200_000}).encode() for i in range(3)]
    answers = in_turn(port, [post("/", body) for body in bodies])
    assert [answer.body for answer in answers] == bodies
    assert all(answer.ms > 0 for answer in answers)


def test_an_error_is_raised_with_what_the_server_said(port):
    with pytest.raises(RuntimeError, match="404: no such page"):
        in_turn(port, [get("/elsewhere")])


def test_a_stream_is_read_to_its_end_and_must_be_answered(port):
    assert run(first_chunk_ms(port, get("/stream"))) > 0
    with pytest.raises(RuntimeError, match="404"):
        run(first_chunk_ms(port, get("/elsewhere")))


def test_a_load_ends_with_its_supply_and_counts_every_answer(port):
    load = drive(port, iter([post("/", b'{"encoded":7}')] * 9), clients=3, seconds=60)
    assert (len(load.ms), load.errors) == (9, 0)
    assert load.per_second == pytest.approx(9 / load.seconds)


def test_a_load_counts_refusals_apart(port):
    load = drive(port, iter([get("/elsewhere")] * 4), clients=2, seconds=60)
    assert (len(load.ms), load.errors) == (0, 4)


def test_a_load_ends_with_its_time(port):
    assert drive(port, repeat(get("/health")), clients=2, seconds=0.1).seconds < PATIENT_S


def test_a_server_that_dies_is_reported_with_its_last_words():
    command = [sys.executable, "-c", "raise SystemExit('out of ink')"]
    with pytest.raises(RuntimeError, match="out of ink"), running(command, free_port(), "/", os.environ):
        pass
