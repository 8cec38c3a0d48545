"""Verification of responses in rehearsals: lost, wrong and incomplete ones must fail."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.sync.server import serve

from scripts.rehearsal import load as rehearsal
from scripts.rehearsal.load import COHERE, SOCKET, Failed, Load, Question, Record, judge, question, send
from tests.app.live import live
from tests.waiting import eventually

ASKED = Question("owl", ("a road", "an owl", "a river"), 1)
RIGHT = [(1, 0.9), (0, 0.5), (2, 0.5)]


def results(rows, score="relevance_score"):
    return [{"index": index, score: value} for index, value in rows]


def answer(rows):
    return json.dumps({"results": results(rows)}).encode()


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(2, 60))
def test_no_document_is_in_two_questions_and_one_alone_has_the_words_of_the_query(one, other, documents):
    first, second = question(one, documents), question(other, documents)
    assert len({*first.documents}) == documents
    assert (one == other) == bool({*first.documents} & {*second.documents})
    case = first.query.rsplit(" ", 1)[1]
    assert [at for at, text in enumerate(first.documents) if case in text] == [first.right]


def stream(*events):
    return "".join(f"event: {name}\ndata: {data.decode()}\nid: 1\n\n" for name, data in events).encode()


@pytest.mark.parametrize(
    "body",
    [
        answer(RIGHT),
        json.dumps(results(RIGHT, "score")).encode(),
        stream(("order", answer([(0, 1.0)])), ("final", answer(RIGHT))),
    ],
)
def test_a_right_answer_passes_in_every_form(body):
    judge(ASKED, body)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (answer(RIGHT[:2]), "expected 3 different documents, got 2 in 2 results"),
        (answer([(1, 0.9), (0, 0.5), (0, 0.4)]), "expected 3 different documents, got 2 in 3 results"),
        (answer([(1, 0.9), (0, 0.5), (3, 0.4)]), "expected 3 different documents, got 2 in 3 results"),
        (answer([(1, 0.5), (0, 0.9), (2, 0.4)]), "not in order"),
        (answer([(0, 0.9), (1, 0.5), (2, 0.4)]), "document 0 is first, but 1 contains"),
        (b'[{"place": 1}]', "KeyError"),
        (b'{"detail": "no"}', "KeyError"),
        (b"nonsense", "JSONDecodeError"),
        (stream(("order", answer(RIGHT))), "not the final result"),
        (stream(("order", answer(RIGHT)), ("error", b"{}")), "not the final result"),
    ],
)
def test_a_wrong_answer_does_not(body, why):
    with pytest.raises(Failed, match=why):
        judge(ASKED, body)


@contextmanager
def answering(status, body=b""):
    """The URL of a server with one fixed response; without a status it closes the connection."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            if status:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(("status", "why"), [(503, "503 'busy'"), (None, "disconnected")])
def test_what_one_server_does_not_answer_rightly_the_next_one_may(status, why):
    with answering(status, b"busy") as bad, answering(200, answer(RIGHT)) as good:
        record = send(rehearsal.HttpClient("secret"), COHERE, ASKED, [bad, good], attempts=2)
        assert (record.answered, len(record.failures)) == (True, 1)
        assert why in record.failures[0]
        lost = send(rehearsal.HttpClient("secret"), COHERE, ASKED, [bad, bad], attempts=2)
    assert (lost.answered, len(lost.failures)) == (False, 2)


def test_a_socket_that_closes_to_restart_costs_no_request_and_another_code_does():
    codes = [1012, 1011, None]

    def say(connection):
        connection.recv()
        if code := codes.pop(0):
            connection.close(code)
        else:
            connection.send(json.dumps({"type": "order"}))
            connection.send(json.dumps({"type": "final", "results": results(RIGHT)}))

    with serve(say, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        record = send(rehearsal.SocketClient("secret"), SOCKET, ASKED, [url], attempts=2)
        server.shutdown()
    assert (record.answered, len(record.failures)) == (True, 1)
    assert "1011" in record.failures[0]


def test_every_kind_of_client_is_answered_rightly_by_the_service(hash_settings, monkeypatch):
    kinds = (COHERE, rehearsal.TEI, rehearsal.LARGE, rehearsal.STREAM, SOCKET)
    with live(hash_settings, monkeypatch) as here:
        with Load(kinds, "any", f"http://127.0.0.1:{here.port}", attempts=1) as load:
            eventually(lambda: len(load.records) >= 3 * len(kinds))
        assert load.lossless(), load
        assert not load.failed()
        with Load(
            [rehearsal.SEARCH], "any", f"http://127.0.0.1:{here.port}", attempts=1
        ) as lost:  # the collection does not exist
            eventually(lambda: lost.records)
        assert not lost.lossless()


def test_the_longest_pause_is_between_answers_whoever_got_them():
    records = [Record(0.0, ended, answered=ended != 2.9) for ended in (1.1, 1.5, 1.8, 2.9, 3.1)]
    assert rehearsal.longest_pause(records, 1.0, 3.0) == pytest.approx(1.2)  # from 1.8 to the end
