"""The records of requests that watchers get."""

import pytest
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from app.telemetry.request_record import UNKNOWN
from tests.conftest import serving

DOCUMENTS = ["an owl song", "market prices", "a river"]
BODY = {"query": "owl", "documents": DOCUMENTS}


@pytest.fixture
def records(client):
    """The records of the requests so far."""
    records = []
    client.app.state.dependencies.watchers.append(records.append)
    return records


def test_a_ranking_is_recorded(client, records):
    for _ in range(2):
        client.post("/v1/v1/rerank/", json=BODY | {"method": "quantum"}, headers={"X-Request-ID": "a-1"})
    first, again = records
    assert (first.request_id, first.http_method, first.route, first.status) == ("a-1", "POST", "/v1/rerank", 200)
    assert (first.dialect, first.done.method, first.done.model, first.problem) == ("standard", "quantum", "hash", None)
    assert (first.done.documents, first.done.encoded, first.done.cached, first.done.skipped, first.done.incomplete) == (
        3,
        3,
        0,
        0,
        False,
    )
    assert (again.done.documents, again.done.encoded, again.done.cached) == (3, 0, 3)
    assert first.done.tokens == again.done.tokens > 3
    stages = [lap.stage for lap in first.watch.laps]
    assert stages[0] == "queue"
    assert stages[-1] == "serialise"
    assert {"wait", "prescore", "encode", "quantum", "fuse"} < set(stages)
    assert all(lap.start >= first.begun for lap in first.watch.laps)
    assert sum(first.watch.ms.values()) <= first.seconds * 1e3


@pytest.mark.parametrize(
    ("path", "body", "documents"),
    [
        ("/v1/similarity", {"text1": "owl", "text2": "an owl"}, 1),
        ("/v1/batch-similarity", {"queries": ["owl", "song"], "documents": DOCUMENTS}, 3),
        ("/v1/embeddings", {"input": DOCUMENTS}, 3),
        ("/v1/rerank/stream", BODY, 3),
    ],
)
def test_every_compute_route_is_recorded(client, records, path, body, documents):
    assert client.post(path, json=body).status_code == 200
    [record] = records
    assert (record.route, record.status, record.done.documents) == (path, 200, documents)
    assert record.done.tokens > 0
    assert {"queue", "serialise"} <= set(record.watch.ms)


def test_documents_skipped_at_the_deadline_are_recorded(client, records):
    assert client.post("/rerank", json=BODY | {"deadline_ms": 0.001}).status_code == 200
    [record] = records
    assert (
        record.done.documents,
        record.done.encoded,
        record.done.cached,
        record.done.skipped,
        record.done.incomplete,
    ) == (
        3,
        0,
        0,
        3,
        True,
    )


@pytest.mark.parametrize(
    ("method", "path", "sent", "status", "problem", "route"),
    [
        ("POST", "/rerank", {"content": b"{"}, 400, "malformed-body", "/rerank"),
        ("POST", "/rerank", {"json": {}}, 422, "invalid-request", "/rerank"),
        ("GET", "/nowhere", {}, 404, "not-found", UNKNOWN),
        ("POST", "/rerank", {"json": BODY, "headers": {"Sec-Fetch-Site": "cross-site"}}, 403, "forbidden", UNKNOWN),
        ("PUT", "/rerank", {}, 405, "method-not-allowed", "/rerank"),
    ],
)
def test_errors_are_recorded(client, records, method, path, sent, status, problem, route):
    assert client.request(method, path, **sent).status_code == status
    [record] = records
    assert (record.status, record.problem, record.route) == (status, problem, route)


def test_unexpected_errors_are_recorded(client, records):
    client.app.state.dependencies.engine.models.default.encoder.forward = None
    assert client.post("/rerank", json=BODY).status_code == 500
    assert [(record.status, record.problem) for record in records] == [(500, "internal")]
    with client.stream("POST", "/v1/rerank/stream", json=BODY) as response:
        response.read()
    assert (records[1].status, records[1].problem) == (
        500,
        "internal",
    )  # sent as an event: the headers were sent before


def test_unauthenticated_requests_are_recorded(hash_settings):
    closed = hash_settings.model_copy(update={"auth": hash_settings.auth.model_copy(update={"enabled": True})})
    with serving(closed) as client:
        records = []
        client.app.state.dependencies.watchers.append(records.append)
        assert client.post("/rerank", json=BODY).status_code == 401
        with pytest.raises(WebSocketDenialResponse), client.websocket_connect("/v1/ws"):
            pass
    assert [(record.http_method, record.status, record.problem, record.identity) for record in records] == [
        ("POST", 401, "unauthorized", None),
        ("WS", 401, "unauthorized", None),
    ]


def test_a_websocket_refused_for_its_origin_is_recorded(client, records):
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/v1/ws", headers={"Origin": "http://a.example"}):
        pass
    assert [(record.http_method, record.route, record.status, record.problem) for record in records] == [
        ("WS", "/v1/ws", 403, "forbidden")
    ]


def test_requests_on_a_websocket_are_recorded_one_by_one(client, records):
    with client.websocket_connect("/v1/ws", headers={"X-Request-ID": "s"}) as socket:
        for number, sent in enumerate((BODY, {"query": ""})):
            socket.send_json({"type": "rerank", "id": number, **sent})
            while socket.receive_json()["type"] not in {"final", "error"}:
                pass
        socket.send_json({"type": "ping"})
        assert socket.receive_json()["type"] == "pong"
    assert [
        (record.request_id, record.http_method, record.route, record.status, record.done.documents)
        for record in records
    ] == [
        ("s/1/0", "WS", "/v1/ws", 200, 3),
        ("s/2/1", "WS", "/v1/ws", 422, None),
    ]
    assert [record.dialect for record in records] == ["standard", "standard"]
