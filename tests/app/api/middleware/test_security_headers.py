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


@pytest.fixture
def client(shared_client):
    return shared_client


def crash(*_, **__):
    raise ZeroDivisionError


@pytest.mark.parametrize("path", ["/health", "/metrics", "/nothing", "/rerank", "/docs", "/openapi.json"])
def test_every_response_has_security_headers(client, path):
    for response in (client.get(path), client.post(path, json=BODY), client.post(path, content=b"{")):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert response.headers["cache-control"] == "no-store"
        assert "strict-transport-security" not in response.headers
        assert "access-control-allow-origin" not in response.headers


def test_an_unexpected_error_has_security_headers_and_says_that_the_connection_ends(client, monkeypatch):
    monkeypatch.setattr(client.app.state.dependencies.engine.models.default, "rerank", crash)
    response = client.post("/rerank", json=BODY)
    assert response.status_code == 500
    assert response.headers["connection"] == "close"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"


def test_hsts_is_sent_if_configured(tmp_path):
    with serving(Settings(model="hash", data_dir=tmp_path, hsts_s=3600)) as client:
        assert client.get("/health").headers["strict-transport-security"] == "max-age=3600"


def test_cross_site_requests_are_refused(client):
    problem(client.post("/rerank", json=BODY, headers=CROSS), 403, "QRERANK_CORS__ORIGINS")
    assert "access-control-allow-origin" not in client.get("/health", headers=CROSS).headers
    assert client.options("/rerank", headers=CROSS | {"Access-Control-Request-Method": "POST"}).status_code >= 400


@pytest.mark.parametrize("site", ["same-origin", "none", None])
def test_same_origin_pages_and_other_clients_are_served(client, site):
    headers = {"Origin": ORIGIN} | ({"Sec-Fetch-Site": site} if site else {})
    assert client.post("/rerank", json=BODY, headers=headers).status_code == 200


@pytest.mark.parametrize("allowed", [ORIGIN, "*"])
def test_configured_origins_may_call_but_never_with_credentials(tmp_path, allowed):
    with serving(Settings(model="hash", data_dir=tmp_path, cors={"origins": [allowed]})) as client:
        preflight = CROSS | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "X-API-Key"}
        for response in (
            client.options("/rerank", headers=preflight),
            client.post("/rerank", json=BODY, headers=CROSS),
        ):
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
def test_pages_of_an_allowed_origin_may_send_their_sdks_headers(tmp_path, sent):
    preflight = CROSS | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": sent}
    with serving(Settings(model="hash", data_dir=tmp_path, cors={"origins": [ORIGIN]})) as client:
        response = client.options("/v1/embeddings", headers=preflight)
        assert response.status_code == 200
        assert response.headers["access-control-allow-headers"] == sent
        other = client.options("/v1/embeddings", headers=preflight | {"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


def test_the_documentation_page_loads_nothing_from_other_hosts(client):
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
def test_without_authentication_addresses_and_local_names_are_served(host):
    assert is_served(host, (), has_keys=False)


@pytest.mark.parametrize("host", SITES)
def test_without_authentication_public_names_are_not_served(host):
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
def test_only_configured_names_are_served(host, served):
    for has_keys in (True, False):
        assert is_served(host, ("a.example", "*.C.example"), has_keys=has_keys) == served


@pytest.mark.parametrize("path", ["/health", "/rerank", "/v1/admin/keys", "/docs"])
def test_a_public_host_name_is_refused_on_every_path(client, path):
    response = client.post(path, json={}, headers={"Host": "evil.example"})
    assert response.status_code == 403
    assert "QRERANK_HOSTS" in response.json()["message"]


def test_a_public_host_name_is_refused_on_the_websocket(client):
    for headers in ({"Host": "evil.example", "Origin": "http://evil.example"}, {"Origin": "http://[evil"}):
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/v1/ws", headers=headers):
            pass
    with client.websocket_connect("/v1/ws", headers={"Origin": "http://testserver"}):
        pass


def test_a_host_name_can_be_allowed(tmp_path):
    with serving(Settings(model="hash", data_dir=tmp_path, hosts=["rerank.example"])) as client:
        assert client.get("/health", headers={"Host": "rerank.example:8000"}).status_code == 200
        assert client.get("/health", headers={"Host": "other.example"}).status_code == 403
        for host in ("10.1.2.3:8000", "[2001:db8::1]:8000", ""):  # as kubelets, Prometheus and haproxy ask
            assert client.get("/health", headers={"Host": host}).status_code == 200
            assert client.get("/metrics", headers={"Host": host}).status_code == 200
            assert client.get("/docs", headers={"Host": host}).status_code == 403
