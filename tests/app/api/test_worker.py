"""Cancellation of work whose client disconnects, on every route that computes."""

import json

import pytest

from tests.app.live import is_called_off
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
    assert len(encoded) < 50
    encoder.forward = forward
    assert client.post(path, json=sent).status_code == 200
