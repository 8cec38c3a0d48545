"""What uvicorn is told: only named proxies say who the client is."""

import asyncio

import pytest
import uvicorn
from fastapi.testclient import TestClient
from pydantic import ValidationError

from app.main import create_app
from app.server.asgi import application, options
from app.settings import ServerSettings, Settings
from tests.waiting import PATIENT_S

SPOOFED = [(b"x-forwarded-for", b"203.0.113.9, 198.51.100.7"), (b"x-forwarded-proto", b"https")]


def client_of(peer, settings, headers=SPOOFED):
    """Which client and scheme the application sees of a connection from `peer`."""
    seen = {}

    async def application(scope, receive, send):
        seen.update(scope)

    config = uvicorn.Config(application, **options(settings))
    config.load()
    scope = {"type": "http", "client": (peer, 1), "scheme": "http", "headers": headers}
    asyncio.run(config.loaded_app(scope, None, None))
    return seen["client"][0], seen["scheme"]


def settings(*proxies):
    return Settings(server=ServerSettings(proxies=proxies))


@pytest.mark.parametrize("proxies", [["10.0.0.5"], ["10.0.0.0/24"], ["198.51.100.1", "10.0.0.5/32"]])
def test_of_a_named_proxy_the_last_unknown_address_counts(proxies):
    assert client_of("10.0.0.5", settings(*proxies)) == ("198.51.100.7", "https")


def test_a_chain_of_named_proxies_is_followed_to_the_client():
    assert client_of("10.0.0.5", settings("10.0.0.0/8", "198.51.100.7"))[0] == "203.0.113.9"


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.0.1.5", "2001:db8::1"])
def test_anybody_else_is_not_believed(peer, monkeypatch):
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    assert client_of(peer, settings("10.0.0.0/24")) == (peer, "http")
    assert client_of(peer, settings()) == (peer, "http")  # uvicorn itself would believe 127.0.0.1


def test_uvicorns_variable_names_proxies_where_the_setting_does_not(monkeypatch):
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.5, 10.0.0.6")
    assert client_of("10.0.0.6", settings())[0] == "198.51.100.7"
    assert client_of("10.0.0.6", settings("10.0.0.5"))[0] == "10.0.0.6"


@pytest.mark.parametrize("proxy", ["*", "proxy.example.org", "10.0.0.5/8", "", "10.0.0.0/33"])
def test_what_names_no_address_is_refused(proxy):
    with pytest.raises(ValidationError):
        ServerSettings(proxies=(proxy,))


def test_a_worker_that_starts_on_busy_processors_is_not_killed():
    config = uvicorn.Config(application, workers=2, **options(settings()))
    assert config.timeout_worker_healthcheck >= 30  # uvicorn's 5 s passed before its imports were done


def test_one_of_several_workers_takes_no_connection_before_it_can_answer(tmp_path):
    app = create_app(Settings(model="hash", data_dir=tmp_path), loads_within_s=PATIENT_S)
    with TestClient(app) as client:
        assert client.get("/health/ready").status_code == 200
