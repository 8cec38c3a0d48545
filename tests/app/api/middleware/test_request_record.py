"""What watchers are shown of requests."""

import pytest
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from app.telemetry.request_record import UNKNOWN
from tests.conftest import serving

DOCUMENTS = ["an owl song", "market prices", "a river"]
BODY = {"query": "owl", "documents": DOCUMENTS}


@pytest.fixture
def seen(client):
    """What was shown of the requests so far."""
    shown = []
    client.app.state.dependencies.watchers.append(shown.append)
    return shown


def test_a_ranking_is_seen_whole(client, seen):
    for _ in range(2):
        client.post("/v1/v1/rerank/", json=BODY | {"method": "quantum"}, headers={"X-Request-ID": "a-1"})
    first, again = seen
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
def test_every_route_with_work_is_seen(client, seen, path, body, documents):
    assert client.post(path, json=body).status_code == 200
    [one] = seen
    assert (one.route, one.status, one.done.documents) == (path, 200, documents)
    assert one.done.tokens > 0
    assert {"queue", "serialise"} <= set(one.watch.ms)


def test_what_could_not_be_read_because_of_the_deadline_is_seen(client, seen):
    assert client.post("/rerank", json=BODY | {"deadline_ms": 0.001}).status_code == 200
    [one] = seen
    assert (one.done.documents, one.done.encoded, one.done.cached, one.done.skipped, one.done.incomplete) == (
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
def test_what_was_wrong_is_seen(client, seen, method, path, sent, status, problem, route):
    assert client.request(method, path, **sent).status_code == status
    [one] = seen
    assert (one.status, one.problem, one.route) == (status, problem, route)


def test_what_nobody_foresaw_is_seen(client, seen):
    client.app.state.dependencies.engine.models.default.encoder.forward = None
    assert client.post("/rerank", json=BODY).status_code == 500
    assert [(one.status, one.problem) for one in seen] == [(500, "internal")]
    with client.stream("POST", "/v1/rerank/stream", json=BODY) as response:
        response.read()
    assert (seen[1].status, seen[1].problem) == (500, "internal")  # told in an event: the headers had gone out


def test_callers_are_seen_and_those_who_were_not_let_in(hash_settings):
    closed = hash_settings.model_copy(update={"auth": hash_settings.auth.model_copy(update={"enabled": True})})
    with serving(closed) as client:
        seen = []
        client.app.state.dependencies.watchers.append(seen.append)
        assert client.post("/rerank", json=BODY).status_code == 401
        with pytest.raises(WebSocketDenialResponse), client.websocket_connect("/v1/ws"):
            pass
    assert [(one.http_method, one.status, one.problem, one.identity) for one in seen] == [
        ("POST", 401, "unauthorized", None),
        ("WS", 401, "unauthorized", None),
    ]


def test_a_page_of_elsewhere_that_opens_a_socket_is_seen(client, seen):
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/v1/ws", headers={"Origin": "http://a.example"}):
        pass
    assert [(one.http_method, one.route, one.status, one.problem) for one in seen] == [
        ("WS", "/v1/ws", 403, "forbidden")
    ]


def test_requests_on_a_socket_are_seen_one_by_one(client, seen):
    with client.websocket_connect("/v1/ws", headers={"X-Request-ID": "s"}) as socket:
        for number, sent in enumerate((BODY, {"query": ""})):
            socket.send_json({"type": "rerank", "id": number, **sent})
            while socket.receive_json()["type"] not in {"final", "error"}:
                pass
        socket.send_json({"type": "ping"})
        assert socket.receive_json()["type"] == "pong"
    assert [(one.request_id, one.http_method, one.route, one.status, one.done.documents) for one in seen] == [
        ("s/0", "WS", "/v1/ws", 200, 3),
        ("s/1", "WS", "/v1/ws", 422, None),
    ]
    assert [one.dialect for one in seen] == ["standard", "standard"]
