"""Smoke tests of servers that become ready late or never, or respond wrongly."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scripts import trial


@pytest.fixture
def server():
    """A server whose responses a test can change: {path: (status, body)}."""
    answers, asked = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            asked.append((self.path, self.rfile.read(length), self.headers.get("Authorization")))
            status, body = answers.get(self.path, (404, {}))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        do_POST = do_GET  # noqa: N815 - the library's name

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        running.answers, running.asked, running.port = answers, asked, running.server_address[1]
        yield running
        running.shutdown()


def test_a_server_is_ready_when_it_says_so(server):
    server.answers["/health/ready"] = (503, {})
    since = time.monotonic()
    threading.Timer(0.2, server.answers.update, [{"/health/ready": (200, {})}]).start()
    assert trial.seconds_until_ready(server.port, since, lambda: True) >= 0.2


def test_a_ranking_is_right_if_the_owl_comes_first_and_a_refusal_is_an_error_that_shows_it(server):
    for first, right in ((trial.BEST, True), (0, False)):
        server.answers["/rerank"] = (200, {"results": [{"index": first}]})
        assert trial.ranks(server.port, "a-key") is right
    (_, body, key), *_ = server.asked
    assert json.loads(body)["documents"] == list(trial.DOCUMENTS)
    assert key == "Bearer a-key"
    server.answers["/rerank"] = (401, {"message": "no key"})
    with pytest.raises(RuntimeError, match=r"401 .*no key"):
        trial.ranks(server.port)


def test_memory_is_read_from_what_the_kernel_says():
    assert trial.resident_mb("Name:\tx\nVmRSS:\t    1000 kB\n") == pytest.approx(1.024)
    assert trial.resident_mb(Path("/proc/self/status").read_text()) > 10


def test_what_does_not_hold_decides_the_exit_status(capsys):
    findings = trial.Findings()
    findings.at_most("size", 900, 900, "MB")
    assert findings.verdict() == 0
    findings.at_most("size", 901, 900, "MB")
    assert findings.verdict() == 1
    assert "2 checks in 0 s, 1 failed: size" in capsys.readouterr().out
