"""Smoke tests of servers that become ready late or never, or respond wrongly."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scripts import trial


def test_a_server_is_ready_when_it_says_so_and_right_if_the_owl_comes_first():
    answers, asked = {"/health/ready": (503, {})}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            asked.append((self.rfile.read(length), self.headers.get("Authorization")))
            status, body = answers[self.path]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        do_POST = do_GET  # noqa: N815 - the library's name

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port, since = server.server_address[1], time.monotonic()
        threading.Timer(0.2, answers.update, [{"/health/ready": (200, {})}]).start()
        assert trial.seconds_until_ready(port, since, lambda: True) >= 0.2
        for first, right in ((trial.BEST, True), (0, False)):
            answers["/rerank"] = (200, {"results": [{"index": first}]})
            assert trial.ranks(port, "a-key") is right
        assert json.loads(asked[-1][0])["documents"] == list(trial.DOCUMENTS)
        assert asked[-1][1] == "Bearer a-key"
        answers["/rerank"] = (401, {"message": "no key"})
        with pytest.raises(RuntimeError, match=r"401 .*no key"):
            trial.ranks(port)
        server.shutdown()


def test_what_does_not_hold_decides_the_exit_status(capsys):
    findings = trial.Findings()
    findings.at_most("size", 900, 900, "MB")
    assert findings.verdict() == 0
    findings.at_most("size", 901, 900, "MB")
    assert findings.verdict() == 1
    assert "2 checks in 0 s, 1 failed: size" in capsys.readouterr().out
