"""WebSockets before and after there are requests: who may connect, readers that are slow, servers that stop."""

import json
import threading
from contextlib import ExitStack

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from app.api.routes.websocket import _frame
from app.settings import Settings
from tests.app.live import live
from tests.app.talking import ASKED, SMALL, talking
from tests.waiting import PATIENT_S, eventually

KEY = "k" * 16
MANY = ASKED | {"documents": [f"{i} an owl " + "song " * (i % 7) for i in range(1000)]}


@pytest.fixture
def port(tmp_path, monkeypatch):
    with live(Settings(data_dir=tmp_path), monkeypatch) as here:
        yield here.port


def test_a_slow_reader_misses_orders_and_no_answer(tmp_path, monkeypatch):
    """Nothing is read until all is done: what the operating system does not hold by then was replaced by newer."""
    seen = {named: [] for named in range(16)}
    made, answered = [], threading.Semaphore(0)

    def frame(to, kind, fields):
        made.append(kind)
        if kind == "final":
            answered.release()
        return _frame(to, kind, fields)

    monkeypatch.setattr("app.api.routes.websocket._frame", frame)
    with (
        live(Settings(data_dir=tmp_path), monkeypatch) as here,
        here.narrow() as narrow,
        talking(here.port, sock=narrow, max_queue=1) as client,
    ):
        for named in seen:
            client.send(MANY | {"id": named})
        assert all(answered.acquire(timeout=PATIENT_S) for _ in seen)
        while any(told[-1:] != ["final"] for told in seen.values()):
            got = client.receive()
            seen[got["id"]].append(got.get("stage", got["type"]))
    assert {(told[0], told[-1]) for told in seen.values()} == {("prescore", "final")}
    assert sum(map(len, seen.values())) < len(made) / 2


def test_a_key_is_needed_where_keys_are(tmp_path, monkeypatch):
    with live(Settings(data_dir=tmp_path, auth={"enabled": True, "keys": [KEY]}), monkeypatch) as here:
        with pytest.raises(InvalidStatus) as refused, talking(here.port):
            pass
        response = refused.value.response
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert "needs a key" in json.loads(response.body)["detail"]
        elsewhere = "http://elsewhere.example"  # no page knows the key
        with talking(here.port, additional_headers={"authorization": f"Bearer {KEY}"}, origin=elsewhere) as client:
            assert client.ask(SMALL | {"id": 1})["type"] == "final"


@pytest.mark.parametrize(("origin", "status"), [("http://elsewhere.example", 403), ("null", 403), (None, 101)])
def test_without_keys_pages_of_elsewhere_are_refused(port, origin, status):
    if status == 101:
        with talking(port, origin=f"http://127.0.0.1:{port}") as client:
            assert client.ask(SMALL | {"id": 1})["type"] == "final"
    else:
        with pytest.raises(InvalidStatus) as refused, talking(port, origin=origin):
            pass
        assert refused.value.response.status_code == status


def test_the_connections_id_is_the_clients_if_it_gives_one(port):
    with talking(port, additional_headers={"x-request-id": "mine"}) as client:
        assert client.connection.response.headers["x-request-id"] == "mine"


def test_a_path_that_a_client_mistypes_is_found(port):
    with connect(f"ws://127.0.0.1:{port}//v1/v1/ws/") as connection:
        connection.send('{"type": "ping"}')
        assert json.loads(connection.recv(timeout=PATIENT_S))["type"] == "pong"


def stop(here):
    """Have the server stop, and wait until it has begun to."""
    here.server.should_exit = True
    eventually(lambda: not here.server.servers[0].is_serving())


def test_a_server_that_stops_answers_what_is_in_flight_and_then_says_so(tmp_path, monkeypatch):
    go = threading.Event()
    with (
        live(Settings(data_dir=tmp_path), monkeypatch, lambda _: go.wait(PATIENT_S)) as here,
        talking(here.port) as client,
    ):
        client.send(ASKED | {"id": "a"})
        client.until("a", "order")
        stop(here)
        go.set()
        assert client.until("a", "final")[-1]["results"]
        with pytest.raises(ConnectionClosed) as closed:
            client.receive()
    assert closed.value.rcvd.code == 1012


def test_a_server_that_stops_waits_for_no_client_that_left(tmp_path, monkeypatch):
    go, options = threading.Event(), {"timeout_graceful_shutdown": 2 * PATIENT_S}
    with live(Settings(data_dir=tmp_path), monkeypatch, lambda _: go.wait(PATIENT_S), **options) as here:
        with talking(here.port) as client:
            client.send(ASKED | {"id": "a"})
            client.until("a", "order")
            stop(here)
        go.set()


def test_a_server_that_stops_hangs_up_on_who_asks_for_nothing(tmp_path, monkeypatch):
    with live(Settings(data_dir=tmp_path), monkeypatch) as here, talking(here.port) as client:
        here.server.should_exit = True
        with pytest.raises(ConnectionClosed) as closed:
            client.receive()
    assert closed.value.rcvd.code == 1012


def test_a_reader_that_stops_reading_keeps_no_server_from_stopping(tmp_path, monkeypatch):
    with ExitStack() as after, live(Settings(data_dir=tmp_path), monkeypatch, timeout_graceful_shutdown=1) as here:
        client = after.enter_context(talking(here.port, sock=here.narrow(), max_queue=1, close_timeout=1))
        for named in range(4):
            client.send(MANY | {"id": named})
        assert client.receive()["stage"] == "prescore"
        assert here.is_free()
