import re

import pytest

from app.api.middleware.path_normalization import canonical


@pytest.fixture
def client(shared_client):
    return shared_client


@pytest.mark.parametrize(
    ("sent", "normalized"),
    [
        ("/rerank", "/rerank"),
        ("//rerank", "/rerank"),
        ("/v1//rerank/", "/v1/rerank"),
        ("/v1/v1/rerank", "/v1/rerank"),
        ("/v1/v2/rerank", "/v2/rerank"),
        ("//v1///v1//rerank//", "/v1/rerank"),
        ("//v1/models/v1/x/", "/v1/models/v1/x"),
        ("//info", "/info"),
        ("//v1/cluster/auth", "/v1/cluster/auth"),
        ("/v1/v1/embeddings", "/v1/embeddings"),
        ("//v1/ws", "/v1/ws"),
    ],
)
def test_mistyped_paths_are_normalized(sent, normalized):
    assert canonical(sent) == normalized
    assert canonical(normalized) == normalized


@pytest.mark.parametrize(
    "path",
    [
        "/v1/v1/admin/keys",
        "//v1/admin/keys",
        "/v1//admin/keys",
        "/v1/admin/keys/",
        "/v1/v1/usage",
        "//metrics",
        "/metrics/",
        "/health//detailed",
        "//docs",
        "/v1/v1x",
        "/",
        "///",
        "",
        "/v1/v1/v1/rerank",
    ],
)
def test_paths_that_proxies_may_have_rules_for_are_unchanged(path):
    assert canonical(path) == path


@pytest.mark.parametrize("path", ["/metr%01ics", "/v1/admin/keys%0a", "/rerank%00", "/health%7f", "/%C2%85rerank"])
def test_control_characters_in_a_path_are_refused(client, path):
    for method in ("GET", "POST"):
        response = client.request(method, path)
        assert (response.status_code, response.json()["error_type"]) == (400, "malformed-request")


def paths(client, method: str) -> list[str]:
    """The paths of the OpenAPI description that have a method, and those of the documentation page."""
    described = [path for path, methods in client.app.openapi()["paths"].items() if method in methods]
    return [re.sub(r"\{\w+\}", "any", path) for path in described] + ["/", "/admin", "/docs", "/openapi.json"] * (
        method == "get"
    )


def test_head_is_get_without_the_body_wherever_get_is(client):
    assert len(paths(client, "get")) > 8
    for path in paths(client, "get"):
        get, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (get.status_code, b""), path
        assert head.headers["content-type"] == get.headers["content-type"]
        assert int(head.headers["content-length"]) > 0


def test_head_is_refused_where_get_is(client):
    assert client.head("/rerank").status_code == 405
    assert client.head("/nothing").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/rerank", "POST"),
        ("PUT", "/v1/v1/rerank/", "POST"),
        ("DELETE", "/health", "GET, HEAD"),
        ("HEAD", "/v1/similarity", "POST"),
        ("OPTIONS", "/v1/embeddings", "POST"),
        ("PATCH", "/v1/admin/keys", "GET, HEAD, POST"),
        ("GET", "/v1/admin/keys/any", "DELETE"),
        ("TRACE", "/docs", "GET, HEAD"),
    ],
)
def test_a_405_names_the_allowed_methods(client, method, path, allowed):
    response = client.request(method, path)
    assert (response.status_code, response.headers["allow"]) == (405, allowed)


def test_every_405_has_an_allow_header(client):
    for path in {*paths(client, "get"), *paths(client, "post"), *paths(client, "delete")}:
        responses = [client.request(method, path) for method in ("GET", "POST", "PUT", "QUERY")]
        assert all("allow" in response.headers for response in responses if response.status_code == 405), path
        assert responses[-1].status_code == 405
