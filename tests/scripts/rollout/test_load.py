import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from websockets.sync.server import serve

from scripts.rollout.load import Failed, HttpClient, Load, Moved, SocketClient, ask, clients
from scripts.rollout.questions import OVER_HTTP, question
from scripts.rollout.records import Record
from tests.app.live import live
from tests.waiting import PATIENT_S, eventually

TEI = OVER_HTTP[2]
ASKED = question(3, 4)


@pytest.fixture
def url(hash_settings, monkeypatch):
    with live(hash_settings, monkeypatch) as here:
        yield f"http://127.0.0.1:{here.port}"


def test_every_client_is_answered_rightly_by_the_service_again_and_again(url):
    for client in clients(url, "any"):
        for number in range(3):
            client.ask(question(number, client.documents))
        client.close()


@contextmanager
def answering(status, body):
    """A server that says the same to everybody; None hangs up."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            if status is None:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Served-By", "replica7")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield HttpClient(f"http://127.0.0.1:{server.server_address[1]}", "secret", TEI)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def rows(first):
    order = [first, *(at for at in range(4) if at != first)]
    return json.dumps([{"index": at, "score": 0.5} for at in order]).encode()


def test_who_answered_is_told():
    with answering(200, rows(ASKED.right)) as client:
        assert client.ask(ASKED) == "replica7"
        client.close()


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (502, b"no server", "502 b'no server' by replica7"),
        (200, rows(0), "document 0 came first"),
        (200, b'[{"place": 1}]', "KeyError"),
        (200, b"nonsense", "JSONDecodeError"),
        (None, b"", "RemoteDisconnected"),
    ],
)
def test_what_is_no_right_answer_has_failed(status, body, why):
    with answering(status, body) as client:
        with pytest.raises(Failed, match=why):
            client.ask(ASKED)
        client.close()


class Scripted:
    """A client that meets what it is told to."""

    kind, documents = "scripted", 4

    def __init__(self, *meets):
        self.meets = list(meets)

    def ask(self, _):
        met = self.meets.pop(0)
        if isinstance(met, Exception):
            raise met
        return met

    def close(self):
        pass


def asked(*meets):
    record = Record("scripted", time.monotonic())
    ask(Scripted(*meets), ASKED, record)
    return record


def test_a_failed_request_is_sent_again_and_counts_as_failed():
    record = asked(Failed("502"), "replica2")
    assert (record.answered, record.server, record.failures, record.moved) == (True, "replica2", ["502"], 0)


def test_one_that_the_server_did_not_take_has_not_failed():
    record = asked(Moved(), "replica2")
    assert (record.answered, record.failures, record.moved) == (True, [], 1)


def test_four_attempts_are_all():
    record = asked(*(Failed(str(at)) for at in range(5)))
    assert (record.answered, record.failures) == (False, ["0", "1", "2", "3"])


@contextmanager
def socket_server(say):
    with serve(say, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield SocketClient(f"http://127.0.0.1:{server.socket.getsockname()[1]}", "secret")
        finally:
            server.shutdown()
            thread.join()


def final():
    order = [ASKED.right, *(at for at in range(4) if at != ASKED.right)]
    return json.dumps({"type": "final", "results": [{"index": at, "relevance_score": 0.5} for at in order]})


def test_a_socket_that_closes_to_restart_moves_its_client_and_another_code_fails_it():
    for code, error in ((1012, Moved), (1011, Failed)):

        def say(connection, code=code):
            connection.recv()
            connection.close(code)

        with socket_server(say) as client, pytest.raises(error):
            client.ask(ASKED)


def test_a_socket_that_closed_while_nothing_was_asked_costs_no_request():
    closed = threading.Semaphore(0)

    def say(connection):
        connection.recv()
        connection.send(json.dumps({"type": "order"}))
        connection.send(final())
        connection.close(1012)
        closed.release()

    with socket_server(say) as client:
        for _ in range(3):
            client.ask(ASKED)
            assert closed.acquire(timeout=PATIENT_S)
        client.close()


def test_clients_ask_until_they_are_told_to_stop_and_then_finish(url):
    with Load(clients(url, "any")) as load:
        assert load.answered_by("None", PATIENT_S)  # here is no balancer that would name a server
        assert not load.answered_by("replica9", 0.1)
        kinds = {each.name for each in OVER_HTTP} | {"WebSocket"}
        eventually(lambda: {record.kind for record in load.records} == kinds)
    assert all(record.answered and record.ended > record.begun and not record.failures for record in load.records)
    assert not any(thread.is_alive() for thread in load._threads)
