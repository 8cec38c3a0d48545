"""Reranking over a WebSocket, on a real socket of a real server."""

import json
import threading
from collections import Counter

import pytest

from app.api.dialects.cohere import RerankResponse
from app.api.dialects.events import Order
from app.settings import Settings
from tests.app.live import live
from tests.app.talking import ASKED, DOCUMENTS, SMALL, talking
from tests.waiting import PATIENT_S, eventually


@pytest.fixture
def port(tmp_path, monkeypatch):
    with live(Settings(data_dir=tmp_path, limits={"documents": 200, "body_bytes": 2**18}), monkeypatch) as here:
        yield here.port


@pytest.fixture
def client(port):
    with talking(port) as client:
        yield client


@pytest.fixture
def held(tmp_path, monkeypatch):
    """A client of a server whose encoder blocks until the event is set, the event, and the server."""
    go = threading.Event()
    settings = Settings(data_dir=tmp_path, limits={"socket_requests": 3}, engine={"requests": 8})
    with live(settings, monkeypatch, lambda _: go.wait(PATIENT_S)) as here:
        with talking(here.port) as client:
            yield client, go, here
        go.set()


def test_partial_rankings_come_before_the_final_one(client):
    client.send(ASKED | {"id": "a"})
    frames = client.until("a", "final")
    assert {frame.pop("id") for frame in frames} == {"a"}
    assert [frame.pop("type") for frame in frames] == ["order"] * (len(frames) - 1) + ["final"]
    orders = [Order.model_validate(frame) for frame in frames[:-1]]
    assert [order.stage for order in orders] == ["prescore"] + ["refined"] * (len(orders) - 1)
    assert orders[0].encoded == 0
    assert len(orders[0].results) == len(DOCUMENTS)
    assert frames[-1].pop("request_id").endswith("/a")
    final = RerankResponse.model_validate(frames[-1] | {"id": "a"})
    assert final.meta.encoded == len(final.results) == len(DOCUMENTS)


@pytest.mark.parametrize("request_id", ["a", "é \n", "x" * 128, 7, -1.5, 0])
def test_an_id_is_a_number_or_a_text(client, request_id):
    final = client.ask(SMALL | {"id": request_id})
    assert (final["type"], final["id"]) == ("final", request_id)
    assert client.ask(SMALL | {"id": request_id})["type"] == "final"  # may be reused after the response


def test_a_request_of_an_id_that_was_used_before_is_another_one(client):
    answers = [client.ask(SMALL | {"id": request_id}) for request_id in (1, 1, "1")]
    assert len({answer["request_id"] for answer in answers}) == 3


@pytest.mark.parametrize("request_id", ["", "x" * 129, None, True, [1], 2**53 + 2, 2**100 + 1, -1e300])
def test_other_ids_are_refused_and_end_no_request(client, request_id):
    client.send(SMALL | {"id": request_id})
    error = client.receive()
    assert (error["id"], error["status"]) == (None, 422)
    assert "up to 2^53" in error["message"]


def test_requests_run_concurrently(held):
    client, go, _ = held
    for request_id in "abc":
        client.send(ASKED | {"id": request_id})
    begun = [client.receive() for _ in range(3)]
    assert {(frame["id"], frame["stage"]) for frame in begun} == {(request_id, "prescore") for request_id in "abc"}
    go.set()
    ended = Counter()
    while sum(ended.values()) < 3:
        frame = client.receive()
        ended[frame["id"]] += frame["type"] == "final"
    assert ended == Counter("abc")


def test_every_dialect_is_accepted(client):
    final = client.ask({"type": "rerank", "id": 1, "query": "owl", "texts": ["market prices", "an owl"]})
    assert [row["index"] for row in final["results"]] == [1, 0]


def test_a_byte_order_mark_before_a_frame_is_skipped(client):
    for frame in ("\ufeff" + json.dumps(SMALL | {"id": 1}), b"\xef\xbb\xbf" + json.dumps(SMALL | {"id": 1}).encode()):
        client.connection.send(frame)
        assert client.until(1, "final", "error")[-1]["type"] == "final"


def test_binary_frames_are_accepted(client):
    client.connection.send(json.dumps(SMALL | {"id": 1}).encode())
    assert client.until(1, "final")


def test_ping(client):
    client.send({"type": "ping"})
    assert client.receive() == {"type": "pong", "id": None}


@pytest.mark.parametrize(
    ("frame", "request_id", "status", "detail"),
    [
        ("{", None, 400, "not JSON"),
        ("[]", None, 422, "the frame must be a JSON object"),
        (
            r'{"type": "rerank", "id": 1, "query": "q", "documents": ["a", "secret\ud800"]}',
            None,
            400,
            "document 1 holds",
        ),
        ('{"type": "rerank", "id": 1, "query": "owl", "docs": ["secret"]}', 1, 422, "`docs` holds texts"),
        ('{"type": "rerank", "query": "owl", "documents": ["secret"]}', None, 422, "id: must be"),
        ('{"type": "rerank", "id": "", "query": "owl"}', None, 422, "id: must be"),
        ('{"type": "rerank", "id": true, "query": "owl"}', None, 422, "id: must be"),
        ('{"type": "rerank", "id": "%s", "query": "owl"}' % ("x" * 129), None, 422, "id: must be"),
        ('{"type": "cancel"}', None, 422, "id: must be"),
        ('{"type": "sing", "id": 1}', None, 422, "type: must be"),
        ('{"type": {"rerank": 1}, "id": 1}', None, 422, "type: must be"),
        ('{"type": ["rerank"], "id": 1}', None, 422, "type: must be"),
        ('{"type": [[{}]], "id": [1]}', None, 422, "type: must be"),
        ('{"type": "rerank", "id": {"a": [1]}}', None, 422, "id: must be"),
        ('{"id": 1, "query": "owl", "documents": ["secret"]}', None, 422, "type: must be"),
        ('{"type": "rerank", "id": 1, "documents": ["secret"]}', 1, 422, "query: is required"),
        ('{"type": "rerank", "id": 1, "query": "owl"}', 1, 422, "send `documents`"),
        ('{"type": "rerank", "id": 1, "query": "owl", "collection": "fish"}', 1, 404, "no collection 'fish'"),
        (json.dumps(SMALL | {"id": 1, "documents": ["secret"] * 201}), 1, 413, "201 documents were sent and at most"),
        (json.dumps(SMALL | {"id": 1, "exclude": "owl"}), 1, 422, "parallel to the query"),
        (json.dumps(SMALL | {"id": 1}).ljust(2**18 + 1), None, 413, "larger than the 262144 bytes"),
    ],
)
def test_an_invalid_frame_gets_an_error_and_the_connection_stays_open(client, frame, request_id, status, detail):
    client.connection.send(frame)
    error = client.until(request_id, "error")[-1]
    assert error["status"] == status
    assert detail in error["message"]
    assert "secret" not in json.dumps(error)
    assert client.ask(SMALL | {"id": 1})["type"] == "final"


def test_a_frame_of_the_largest_size_is_accepted(client):
    client.connection.send(json.dumps(SMALL | {"id": 1}).ljust(2**18))
    assert client.until(1, "final")


def test_an_id_in_flight_is_refused_and_its_request_continues(held):
    client, go, _ = held
    client.send(ASKED | {"id": "a"})
    assert client.receive()["stage"] == "prescore"
    client.send(SMALL | {"id": "a"})
    error = client.receive()
    assert (error["type"], error["id"], error["status"]) == ("error", None, 422)
    go.set()
    assert len(client.until("a", "final")[-1]["results"]) == len(DOCUMENTS)


def test_one_request_too_many_is_refused_and_the_connection_stays_open(held):
    client, go, here = held
    for request_id in range(4):
        client.send(ASKED | {"id": request_id})
    (error,) = [frame for frame in (client.receive() for _ in range(4)) if frame["type"] == "error"]
    assert (error["id"], error["status"], error["error_type"]) == (3, 503, "overloaded")
    go.set()
    ended = [client.receive() for _ in range(3)]
    while [frame["type"] for frame in ended].count("final") < 3:
        ended.append(client.receive())
    assert here.is_free()
    assert client.ask(SMALL | {"id": 3})["type"] == "final"


def test_cancelling_ends_a_request_at_once_and_frees_its_slot(held):
    client, go, here = held
    for request_id in "ab":
        client.send(ASKED | {"id": request_id})
        assert client.until(request_id, "order")
    client.send({"type": "cancel", "id": "a"})
    assert client.receive() == {"type": "cancelled", "id": "a"}  # while the encoder still blocks
    go.set()
    assert {frame["id"] for frame in client.until("b", "final")} == {"b"}
    assert here.is_free()
    assert client.ask(SMALL | {"id": "a"})["type"] == "final"


def test_cancelling_a_finished_request_is_no_error(client):
    assert client.ask(SMALL | {"id": "a"})["type"] == "final"
    client.send({"type": "cancel", "id": "a"})
    assert client.receive() == {"type": "cancelled", "id": "a"}


@pytest.mark.parametrize("code", [1000, 1012])  # 1012: as the server itself closes when it stops
def test_disconnecting_cancels_all_requests(held, code):
    client, go, here = held
    for request_id in "abc":
        client.send(ASKED | {"id": request_id})
        client.until(request_id, "order")
    assert here.admitted == 3
    client.connection.close(code)
    eventually(here.called_off)
    go.set()
    assert here.is_free()


def test_a_client_that_leaves_at_once_leaves_nothing_behind(shared_client):
    """Its disconnect is read before the task of its request has begun: the request is released and counted."""
    deps, records, frames = shared_client.app.state.dependencies, [], []
    messages = iter(
        [
            {"type": "websocket.connect"},
            {"type": "websocket.receive", "text": json.dumps(SMALL | {"id": 1})},
            {"type": "websocket.disconnect", "code": 1006},
        ]
    )

    async def receive():
        return next(messages)

    async def send(message):
        frames.append(message["type"])

    scope = {"type": "websocket", "path": "/v1/ws", "query_string": b"", "headers": [], "client": ("here", 1)}
    deps.watchers.append(records.append)
    try:
        shared_client.portal.call(shared_client.app, scope, receive, send)
    finally:
        deps.watchers.pop()
    assert frames == ["websocket.accept"]
    assert [(record.route, record.status) for record in records] == [("/v1/ws", 499)]
    assert deps.bodies.total == 0


def test_an_unexpected_error_ends_one_request_and_its_message_is_not_sent(client, monkeypatch, caplog):
    def crash(*_):
        raise ZeroDivisionError("secret")

    with monkeypatch.context() as broken:
        broken.setattr("app.ranking.reranker.Reranker._rank", crash)
        error = client.ask(SMALL | {"id": "a\nb"})
    assert (error["type"], error["status"]) == ("error", 500)
    assert "secret" not in json.dumps(error)
    connection = client.connection.response.headers["x-request-id"]
    assert error["request_id"] == rf"{connection}/1/a\nb"
    assert error["request_id"] in caplog.text
    assert client.ask(SMALL | {"id": "a"})["type"] == "final"
