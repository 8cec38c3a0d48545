"""Cancellation of work whose client disconnects, on every route that computes."""

import json
import re

import pytest

from app.api.problems import KINDS
from app.auth.settings import AuthSettings
from app.quotas.settings import QuotaSettings
from app.settings import Settings
from app.telemetry.metrics import Metrics
from app.telemetry.watchers import count_requests
from tests.app.live import is_called_off
from tests.conftest import serving
from tests.waiting import eventually

MANY = [f"song {i}" for i in range(200)]


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/v1/similarity", {"text1": "owl", "text2": "song"}),
        ("/v1/batch-similarity", {"queries": ["owl", "night"], "documents": MANY}),
        ("/v1/embeddings", {"input": MANY}),
    ],
)
def test_work_stops_when_the_client_disconnects(client, path, sent):
    encoder = client.app.state.dependencies.engine.models.default.encoder
    forward, encoded = encoder.forward, []

    def held(batch):
        encoded.extend(batch)
        eventually(lambda: is_called_off(client.app))
        return forward(batch)

    encoder.forward = held
    incoming = iter([{"type": "http.request", "body": json.dumps(sent).encode()}, {"type": "http.disconnect"}])
    outgoing = []

    async def disconnect() -> None:
        async def receive():
            return next(incoming)

        async def send(message):
            outgoing.append(message)

        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": path}
        await client.app(scope | {"raw_path": path.encode(), "query_string": b"", "headers": []}, receive, send)

    client.portal.call(disconnect)
    assert outgoing[0]["status"] == 499
    assert len(encoded) < len(MANY) / 2  # two threads may each have had a batch
    encoder.forward = forward
    assert client.post(path, json=sent).status_code == 200


BEGINNING = b'{"query": "owl", "docu'


@pytest.fixture(scope="module")
def admin(tmp_path_factory):
    """A client of a service with authentication and quotas, with an admin's key of the tier `public`."""
    settings = Settings(
        model="hash",
        data_dir=tmp_path_factory.mktemp("data"),
        auth=AuthSettings(enabled=True),
        quotas=QuotaSettings(public={"requests_per_minute": 1000}),
        feedback={"enabled": True},
    )
    with serving(settings) as client:
        client.headers["X-API-Key"] = client.app.state.dependencies.auth.keys.create("ada", "admin", "public", None)[1]
        yield client


def routes(client) -> list[str]:
    """The paths with a POST route that reads a body."""
    paths = client.app.openapi()["paths"]
    reading = [path for path, methods in paths.items() if "requestBody" in methods.get("post", {})]
    return [re.sub(r"\{\w+\}", "any", path) for path in reading]


def disconnect(client, path: str, beginning: bytes) -> list[dict]:
    """Begin a request and disconnect; the messages that the service sends."""
    incoming = [{"type": "http.request", "body": beginning, "more_body": True}] if beginning else []
    outgoing = []

    async def receive():
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message):
        outgoing.append(message)

    async def ask():
        headers = [(b"x-api-key", client.headers["X-API-Key"].encode()), (b"content-length", b"99")]
        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": path}
        await client.app(scope | {"raw_path": path.encode(), "query_string": b"", "headers": headers}, receive, send)

    client.portal.call(ask)
    return outgoing


def requests_left(client) -> int:
    client.post("/rerank", content=b"{")
    response = client.post("/rerank", content=b"{")
    return int(response.headers["x-ratelimit-remaining"])


@pytest.mark.parametrize("beginning", [b"", b"{", BEGINNING])
def test_a_client_that_disconnects_within_its_body_is_499(admin, beginning, caplog):
    records, metrics = [], Metrics()
    count = count_requests(metrics, KINDS)
    admin.app.state.dependencies.watchers.append(records.append)
    paths = routes(admin)
    assert "/rerank" in paths
    assert "/v1/admin/keys" in paths
    with caplog.at_level("INFO"):
        for path in paths:
            assert [message["status"] for message in disconnect(admin, path, beginning)[:1]] == [499], path
    admin.app.state.dependencies.watchers.remove(records.append)
    assert [(record.status, record.problem, record.identity.role) for record in records] == [
        (499, None, "admin")
    ] * len(paths)
    assert [(line.levelname, line.exc_info) for line in caplog.records] == [("INFO", None)] * len(paths)
    for record in records:
        count(record)
    assert b'outcome="gone"' in metrics.render("")[0]
    assert b'outcome="refused"' not in metrics.render("")[0]


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank/stream", "/similarity", "/embeddings"])
def test_a_request_counts_if_its_client_disconnects(admin, path):
    before = requests_left(admin)
    disconnect(admin, path, BEGINNING)
    assert requests_left(admin) == before - 3  # this one, and the two of `requests_left`
