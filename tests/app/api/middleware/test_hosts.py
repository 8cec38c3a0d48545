"""By which names a service may be asked."""

import pytest
from starlette.websockets import WebSocketDisconnect

from app.api.middleware.hosts import is_served
from app.settings import Settings
from tests.conftest import serving

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
