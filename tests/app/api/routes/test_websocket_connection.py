"""WebSocket connections: authentication and origins, slow readers, and shutdown."""

import json
import socket
import threading
from contextlib import ExitStack

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.api.routes.websocket import _frame
from app.settings import Settings
from tests.app.live import live
from tests.app.talking import ASKED, SMALL, connect, talking
from tests.waiting import PATIENT_S, eventually

KEY = "k" * 16
MANY = ASKED | {"documents": [f"{i} an owl " + "song " * (i % 7) for i in range(1000)]}


@pytest.fixture
def port(tmp_path, monkeypatch):
    with live(Settings(data_dir=tmp_path), monkeypatch) as here:
        yield here.port


def test_a_slow_reader_misses_partial_rankings_only(tmp_path, monkeypatch):
    """The client reads after all requests have ended: newer frames replaced those outside the sockets' buffers."""
    stages = {request_id: [] for request_id in range(8)}
    made, answered = [], threading.Semaphore(0)

    def frame(to_id, kind, fields):
        made.append(kind)
        if kind == "final":
            answered.release()
        return _frame(to_id, kind, fields)

    monkeypatch.setattr("app.api.routes.websocket._frame", frame)
    with (
        live(Settings(data_dir=tmp_path), monkeypatch) as here,
        here.narrow() as narrow,
        talking(here.port, sock=narrow, max_queue=1) as client,
    ):
        for request_id in stages:
            client.send(MANY | {"id": request_id})
        assert all(answered.acquire(timeout=PATIENT_S) for _ in stages)
        while any(each[-1:] != ["final"] for each in stages.values()):
            received = client.receive()
            stages[received["id"]].append(received.get("stage", received["type"]))
    assert {(each[0], each[-1]) for each in stages.values()} == {("prescore", "final")}
    assert sum(map(len, stages.values())) < len(made) / 2


def test_authentication_is_required_if_enabled(tmp_path, monkeypatch, caplog):
    with live(Settings(data_dir=tmp_path, auth={"enabled": True, "keys": [KEY]}), monkeypatch) as here:
        with pytest.raises(InvalidStatus) as refused, talking(here.port):
            pass
        response = refused.value.response
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert "needs a key" in json.loads(response.body)["detail"]
        elsewhere = "http://elsewhere.example"  # the origin is not checked, since no page knows the key
        with talking(here.port, additional_headers={"authorization": f"Bearer {KEY}"}, origin=elsewhere) as client:
            assert client.ask(SMALL | {"id": 1})["type"] == "final"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]  # of the handshake without a key


@pytest.mark.parametrize(("origin", "status"), [("http://elsewhere.example", 403), ("null", 403), (None, 101)])
def test_without_authentication_other_origins_are_refused(port, origin, status):
    if status == 101:
        with talking(port, origin=f"http://127.0.0.1:{port}") as client:
            assert client.ask(SMALL | {"id": 1})["type"] == "final"
    else:
        assert "pages of other origins" in refusal(port, status, origin=origin)["message"]


@pytest.mark.parametrize("allowed", ["http://elsewhere.example", "*"])
def test_without_authentication_configured_origins_are_served(tmp_path, monkeypatch, allowed):
    settings = Settings(data_dir=tmp_path, cors={"origins": [allowed]})
    with live(settings, monkeypatch) as here, talking(here.port, origin="http://elsewhere.example") as client:
        assert client.ask(SMALL | {"id": 1})["type"] == "final"


def refusal(port, status, path="/v1/ws", host="127.0.0.1", **how):
    """The problem with which a handshake is refused."""
    with pytest.raises(InvalidStatus) as refused, connect(f"ws://{host}:{port}{path}", **how):
        pass
    response = refused.value.response
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    problem = json.loads(response.body)
    assert problem["request_id"] == response.headers["x-request-id"]
    assert response.headers["x-content-type-options"] == "nosniff"
    return problem


@pytest.mark.parametrize("path", ["/ws", "/v2/ws", "/rerank", "/v1/rerank/stream", "/nope"])
def test_other_paths_are_not_found(port, path):
    assert f"WebSocket {path}: Not Found" in refusal(port, 404, path)["message"]


def test_a_name_that_is_not_served_is_told_as_over_http(port):
    with socket.create_connection(("127.0.0.1", port)) as rebound:
        assert "QRERANK_HOSTS" in refusal(port, 403, host="evil.example", sock=rebound)["message"]


def test_the_connections_id_is_the_clients_if_sent(port):
    with talking(port, additional_headers={"x-request-id": "mine"}) as client:
        assert client.connection.response.headers["x-request-id"] == "mine"


def test_a_mistyped_path_is_served(port):
    with connect(f"ws://127.0.0.1:{port}//v1/v1/ws/") as connection:
        connection.send('{"type": "ping"}')
        assert json.loads(connection.recv(timeout=PATIENT_S))["type"] == "pong"


def stop(here):
    """Start the shutdown of the server, and wait until it no longer listens."""
    here.server.should_exit = True
    eventually(lambda: not here.server.servers[0].is_serving())


def test_a_shutdown_completes_requests_in_flight_and_closes_with_1012(tmp_path, monkeypatch):
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


def test_a_shutdown_does_not_wait_for_disconnected_clients(tmp_path, monkeypatch):
    go, options = threading.Event(), {"timeout_graceful_shutdown": 2 * PATIENT_S}
    with live(Settings(data_dir=tmp_path), monkeypatch, lambda _: go.wait(PATIENT_S), **options) as here:
        with talking(here.port) as client:
            client.send(ASKED | {"id": "a"})
            client.until("a", "order")
            stop(here)
        go.set()


def test_a_shutdown_closes_idle_connections(tmp_path, monkeypatch):
    with live(Settings(data_dir=tmp_path), monkeypatch) as here, talking(here.port) as client:
        here.server.should_exit = True
        with pytest.raises(ConnectionClosed) as closed:
            client.receive()
    assert closed.value.rcvd.code == 1012


def test_a_client_that_stops_reading_does_not_block_the_shutdown(tmp_path, monkeypatch):
    with ExitStack() as after, live(Settings(data_dir=tmp_path), monkeypatch, timeout_graceful_shutdown=1) as here:
        client = after.enter_context(talking(here.port, sock=here.narrow(), max_queue=1, close_timeout=1))
        for request_id in range(4):
            client.send(MANY | {"id": request_id})
        assert client.receive()["stage"] == "prescore"
        assert here.is_free()
