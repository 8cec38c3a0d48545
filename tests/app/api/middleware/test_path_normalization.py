import re

import pytest

from app.api.middleware.path_normalization import canonical


@pytest.mark.parametrize(
    ("sent", "meant"),
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
def test_slips_are_mended(sent, meant):
    assert canonical(sent) == meant
    assert canonical(meant) == meant


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
def test_what_proxies_may_have_rules_for_is_left_as_it_is(path):
    assert canonical(path) == path


@pytest.mark.parametrize("path", ["/metr%01ics", "/v1/admin/keys%0a", "/rerank%00", "/health%7f", "/%C2%85rerank"])
def test_control_characters_in_a_path_are_refused(client, path):
    for method in ("GET", "POST"):
        response = client.request(method, path)
        assert (response.status_code, response.json()["error_type"]) == (400, "malformed-request")


def paths(client, method: str) -> list[str]:
    """The described paths that take a method, and those of the page."""
    described = [path for path, methods in client.app.openapi()["paths"].items() if method in methods]
    return [re.sub(r"\{\w+\}", "any", path) for path in described] + ["/docs", "/openapi.json"] * (method == "get")


def test_head_is_get_without_the_body_wherever_get_is(client):
    assert len(paths(client, "get")) > 8
    for path in paths(client, "get"):
        asked, told = client.get(path), client.head(path)
        assert (told.status_code, told.content) == (asked.status_code, b""), path
        assert told.headers["content-type"] == asked.headers["content-type"]
        assert int(told.headers["content-length"]) > 0


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
def test_what_may_not_be_done_says_what_may(client, method, path, allowed):
    response = client.request(method, path)
    assert (response.status_code, response.headers["allow"]) == (405, allowed)


def test_every_405_says_what_may_be_done(client):
    for path in {*paths(client, "get"), *paths(client, "post"), *paths(client, "delete")}:
        answers = [client.request(method, path) for method in ("GET", "POST", "PUT", "QUERY")]
        assert all("allow" in answer.headers for answer in answers if answer.status_code == 405), path
        assert answers[-1].status_code == 405
