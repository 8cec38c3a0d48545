import re

import pytest
from starlette.websockets import WebSocketDisconnect

from app.api.middleware.security_headers import is_served
from app.settings import Settings
from tests.app.problems import problem
from tests.conftest import serving

BODY = {"query": "owl", "documents": ["an owl"]}
ORIGIN = "https://shop.example"
CROSS = {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"}


def crash(*_, **__):
    raise ZeroDivisionError


@pytest.mark.parametrize("path", ["/health", "/metrics", "/nothing", "/rerank", "/docs", "/openapi.json"])
def test_every_answer_tells_browsers_what_not_to_do(client, path):
    for response in (client.get(path), client.post(path, json=BODY), client.post(path, content=b"{")):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert response.headers["cache-control"] == "no-store"
        assert "strict-transport-security" not in response.headers
        assert "access-control-allow-origin" not in response.headers


def test_so_does_an_unforeseen_error(client):
    client.app.state.dependencies.engine.models.default.rerank = crash
    response = client.post("/rerank", json=BODY)
    assert response.status_code == 500
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"


def test_tls_is_insisted_on_where_that_is_configured(tmp_path):
    with serving(Settings(model="hash", data_dir=tmp_path, hsts_s=3600)) as client:
        assert client.get("/health").headers["strict-transport-security"] == "max-age=3600"


def test_pages_of_other_sites_may_not_call(client):
    problem(client.post("/rerank", json=BODY, headers=CROSS), 403, "QRERANK_CORS__ORIGINS")
    assert "access-control-allow-origin" not in client.get("/health", headers=CROSS).headers
    assert client.options("/rerank", headers=CROSS | {"Access-Control-Request-Method": "POST"}).status_code >= 400


@pytest.mark.parametrize("site", ["same-origin", "none", None])
def test_our_own_pages_and_what_is_no_browser_may(client, site):
    headers = {"Origin": ORIGIN} | ({"Sec-Fetch-Site": site} if site else {})
    assert client.post("/rerank", json=BODY, headers=headers).status_code == 200


@pytest.mark.parametrize("allowed", [ORIGIN, "*"])
def test_configured_origins_may_call_but_never_with_credentials(tmp_path, allowed):
    with serving(Settings(model="hash", data_dir=tmp_path, cors={"origins": [allowed]})) as client:
        asked = CROSS | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "X-API-Key"}
        for response in (client.options("/rerank", headers=asked), client.post("/rerank", json=BODY, headers=CROSS)):
            assert response.status_code == 200
            assert response.headers["access-control-allow-origin"] == allowed
            assert "access-control-allow-credentials" not in response.headers
        other = client.post("/rerank", json=BODY, headers=CROSS | {"Origin": "https://evil.example"})
        assert other.status_code == (200 if allowed == "*" else 403)


@pytest.mark.parametrize(
    "sent",
    [
        "x-api-key",
        "authorization,content-type,x-stainless-os,x-stainless-retry-count",  # openai, cohere-ai
        "X-Fern-Language, X-Fern-SDK-Name, X-Fern-Runtime",
        "traceparent,tracestate,baggage",
        "x-request-id,x-client-name,x-pinecone-api-version",
    ],
)
def test_pages_of_an_allowed_origin_may_send_what_their_sdk_does(tmp_path, sent):
    asked = CROSS | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": sent}
    with serving(Settings(model="hash", data_dir=tmp_path, cors={"origins": [ORIGIN]})) as client:
        response = client.options("/v1/embeddings", headers=asked)
        assert response.status_code == 200
        assert response.headers["access-control-allow-headers"] == sent
        other = client.options("/v1/embeddings", headers=asked | {"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


def test_the_page_needs_nothing_from_elsewhere(client):
    page = client.get("/docs")
    addresses = re.findall(r'(?:src|href|data-description)="([^"]+)"', page.text)
    assert len(addresses) == 5
    for address in addresses:
        assert address.startswith("/")
        assert client.get(address).status_code == 200
    assert "<script>" not in page.text
    assert "script-src 'self';" in page.headers["content-security-policy"]
    assert "max-age" in client.get("/docs/start.js").headers["cache-control"]
    assert client.get("/docs/../cli.py").status_code == 404


LOCAL = [
    "127.0.0.1:8000",
    "[::1]:8000",
    "10.1.2.3",
    "localhost",
    "LOCALHOST:8000",
    "qrerank",
    "qrerank.default.svc.cluster.local",
    "host.docker.internal",
    "app.localhost",
    "pi.local:80",
    "box.home.arpa",
    "",
]
SITES = [
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "127.0.0.1.nip.io",
    "evil.example.",
    "internal.evil.example",
]


@pytest.mark.parametrize("host", LOCAL)
def test_without_keys_addresses_and_names_that_no_site_can_have_are_served(host):
    assert is_served(host, (), has_keys=False)


@pytest.mark.parametrize("host", SITES)
def test_without_keys_a_sites_name_is_not(host):
    assert not is_served(host, (), has_keys=False)
    assert is_served(host, (), has_keys=True)
    assert is_served(host, ("*",), has_keys=False)


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("a.example", True),
        ("A.Example:80", True),
        ("b.example", False),
        ("x.c.example", True),
        ("c.example", False),
        ("127.0.0.1", False),
        ("", False),
    ],
)
def test_names_that_are_set_are_served_and_no_others(host, served):
    for has_keys in (True, False):
        assert is_served(host, ("a.example", "*.C.example"), has_keys=has_keys) == served


@pytest.mark.parametrize("path", ["/health", "/rerank", "/v1/admin/keys", "/docs"])
def test_a_sites_page_is_refused_on_every_path(client, path):
    response = client.post(path, json={}, headers={"Host": "evil.example"})
    assert response.status_code == 403
    assert "QRERANK_HOSTS" in response.json()["message"]


def test_so_is_its_socket(client):
    for headers in ({"Host": "evil.example", "Origin": "http://evil.example"}, {"Origin": "http://[evil"}):
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/v1/ws", headers=headers):
            pass
    with client.websocket_connect("/v1/ws", headers={"Origin": "http://testserver"}):
        pass


def test_a_name_can_be_allowed(tmp_path):
    with serving(Settings(model="hash", data_dir=tmp_path, hosts=["rerank.example"])) as client:
        assert client.get("/health", headers={"Host": "rerank.example:8000"}).status_code == 200
        assert client.get("/health").status_code == 403
