from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from benchmarks.corpus import Task
from benchmarks.streaming import Told, follow, report, request

ORDER = b'event: order\ndata: {"stage":"%s"}\nid: 1\n\n'
FINAL = b'event: final\ndata: {"meta":{"encoded":7}}\nid: 4\n\n'
ASKED = request(Task("owl", ("an owl",)), 0)


class Stream(BaseHTTPRequestHandler):
    """Tells what the server's `events` are, one a chunk, after it read what it was sent."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200 if self.server.events else 503)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in (*self.server.events, b""):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))

    def log_message(self, *parts: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Stream) as server:
        Thread(target=server.serve_forever).start()
        yield server
        server.shutdown()


def test_a_stream_is_read_event_by_event_and_the_connection_again(server):
    server.events = (ORDER % b"prescore", ORDER % b"refined", ORDER % b"refined", FINAL)
    for told in follow(server.server_port, [ASKED] * 2):
        assert 0 < told.first_ms <= told.refined_ms[0] <= told.refined_ms[1] <= told.final_ms
        assert told.encoded == 7


@pytest.mark.parametrize(
    ("events", "words"),
    [((), "the server answered HTTP/1.1 503"), ((ORDER % b"prescore",), "the stream ended with data: .*prescore")],
)
def test_what_is_no_answer_is_an_error(server, events, words):
    server.events = events
    with pytest.raises(RuntimeError, match=words):
        follow(server.server_port, [ASKED])


@pytest.mark.parametrize(("first_ms", "verdict"), [(50, "met"), (50.1, "**missed**")])
def test_the_report_holds_the_slowest_row_against_the_target(first_ms, verdict):
    text = report({"soon": [Told(1, [2.0, 3.0], 4, 8)], "late": [Told(first_ms, [], 60, 0)]})
    assert "| refined orders | 2.00 / 2.00 | 0.00 / 0.00 |" in text
    assert "| first refined order, ms | 2.00 / 2.00 |  |" in text
    assert text.endswith(f"{verdict}.")
