import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scripts.rehearsal.clients import Clients, ask, question, results
from tests.waiting import eventually


@contextmanager
def answering(status):
    """A server that gives every request this status; None hangs up."""
    asked = []

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            asked.append((self.headers["Authorization"], self.rfile.read(int(self.headers["Content-Length"]))))
            if status is None:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1], asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def some(*ports):
    with Clients([question("a", "why", ["because"])], *ports) as clients:
        eventually(lambda: clients.counts.sent >= 20)
    return clients.counts


def test_a_question_says_what_is_asked_and_with_which_key():
    with answering(200) as (port, asked):
        assert ask(port, question("secret", "why", collection="papers")) == (200, b"{}")
    assert asked == [("Bearer secret", b'{"query":"why","collection":"papers","top_n":10,"deadline_ms":0}')]


@pytest.mark.parametrize("first", [None, 503])
def test_what_one_server_does_not_answer_the_next_one_does(first):
    with answering(first) as (bad, _), answering(200) as (good, _):
        counts = some(bad, good)
        assert counts.sent == counts.answered > counts.retried > 0
        assert f"({counts.retried} of them on the second server), 0 failed" in str(counts)


def test_what_nobody_answers_has_failed_and_is_told():
    with answering(503) as (bad, _), answering(None) as (worse, _):
        counts = some(bad, worse)
    assert counts.answered == 0
    assert len(counts.failed) == counts.sent
    assert "503 b'{}'" in counts.failed[0]


def test_results_are_cut_out_of_an_answer_as_they_stand():
    assert results(b'{"id":"1","results":[{"index":0}],"meta":{"encoded":1}}') == b'[{"index":0}]'
    with pytest.raises(ValueError, match="no results"):
        results(b'{"detail":"no"}')
