"""Bodies that end too early, on every route that reads one."""

import re

import pytest

from app.api.problems import KINDS
from app.settings import AuthSettings, QuotaSettings, Settings
from app.telemetry.metrics import Metrics
from app.telemetry.request_metrics import count_requests
from tests.conftest import serving

BEGUN = b'{"query": "owl", "docu'


@pytest.fixture(scope="module")
def admin(tmp_path_factory):
    """A client of a service with keys and quotas, with an admin's key of the tier that has few requests."""
    settings = Settings(
        model="hash",
        data_dir=tmp_path_factory.mktemp("data"),
        auth=AuthSettings(enabled=True),
        quotas=QuotaSettings(public={"requests_per_minute": 1000}),
    )
    with serving(settings) as client:
        client.headers["X-API-Key"] = client.app.state.dependencies.auth.keys.create("ada", "admin", "public", None)[1]
        yield client


def routes(client) -> list[str]:
    """The paths that take a POST."""
    paths = client.app.openapi()["paths"]
    return [re.sub(r"\{\w+\}", "any", path) for path, methods in paths.items() if "post" in methods]


def leave(client, path: str, begun: bytes) -> list[dict]:
    """Begin a request and go; what the service says to nobody."""
    incoming = [{"type": "http.request", "body": begun, "more_body": True}] if begun else []
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


@pytest.mark.parametrize("begun", [b"", b"{", BEGUN])
def test_a_client_that_leaves_in_the_middle_of_its_body_is_499(admin, begun, caplog):
    seen, metrics = [], Metrics()
    count = count_requests(metrics, KINDS)
    admin.app.state.dependencies.watchers.append(seen.append)
    paths = routes(admin)
    assert "/rerank" in paths
    assert "/v1/admin/keys" in paths
    with caplog.at_level("INFO"):
        for path in paths:
            assert [message["status"] for message in leave(admin, path, begun)[:1]] == [499], path
    admin.app.state.dependencies.watchers.remove(seen.append)
    assert [(one.status, one.problem, one.identity.role) for one in seen] == [(499, None, "admin")] * len(paths)
    assert [(line.levelname, line.exc_info) for line in caplog.records] == [("INFO", None)] * len(paths)
    for one in seen:
        count(one)
    assert b'outcome="gone"' in metrics.render("")[0]
    assert b'outcome="refused"' not in metrics.render("")[0]


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank/stream", "/similarity", "/embeddings"])
def test_who_leaves_pays_for_the_request(admin, path):
    before = requests_left(admin)
    leave(admin, path, BEGUN)
    assert requests_left(admin) == before - 3  # this one, and the two that look
