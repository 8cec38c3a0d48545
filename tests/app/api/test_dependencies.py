"""Authentication and authorization over HTTP and WebSocket."""

import base64
import logging
from contextlib import contextmanager

import pytest

from app.auth.authenticator import CACHED_S
from app.auth.stores import open_records
from app.settings import Settings
from tests.app.auth.issuer import SHARED, token
from tests.app.live import live
from tests.app.problems import problem
from tests.app.talking import SMALL, talking
from tests.conftest import serving
from tests.postgres_server import PostgresServer
from tests.waiting import eventually

BODY = {"query": "owl", "documents": ["an owl"]}


def settings_of(folder, **auth):
    return Settings(model="hash", data_dir=folder, auth={"enabled": True} | auth)


@contextmanager
def key_store(settings):
    """The key store, as the command line opens it."""
    stores = open_records(settings.auth, settings.data_dir)
    yield stores.keys
    stores.database.close()


@pytest.fixture
def settings(tmp_path):
    return settings_of(tmp_path)


@pytest.fixture
def keys(settings):
    with key_store(settings) as opened:
        yield opened


@pytest.fixture
def client(settings):
    with serving(settings) as started:
        yield started


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def basic(text):
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def status(client, key):
    return client.post("/rerank", json=BODY, headers=bearer(key)).status_code


def test_a_key_created_while_the_service_runs_is_accepted_in_every_header(client, keys):
    _, key = keys.create("", "user", "public")
    for headers in (
        bearer(key),
        {"Authorization": key},
        {"X-API-Key": key},
        {"Api-Key": key},
        basic(f"user:{key}"),
        basic(f"{key}:"),
    ):
        assert client.post("/rerank", json=BODY, headers=headers).status_code == 200


def test_a_revoked_key_is_refused_within_5_s_on_every_replica(client, settings, keys, fast_forward):
    assert CACHED_S < 5
    record, key = keys.create("", "user", "unlimited")
    with serving(settings) as other:
        for replica in (client, other):
            assert status(replica, key) == 200
        keys.revoke(record.id)
        fast_forward(CACHED_S)
        for replica in (client, other):
            problem(replica.post("/rerank", json=BODY, headers=bearer(key)), 401, "was revoked")


def test_a_revoked_key_is_refused_on_an_open_websocket(tmp_path, monkeypatch, fast_forward):
    settings = settings_of(tmp_path)
    with key_store(settings) as keys, live(settings, monkeypatch) as here:
        record, key = keys.create("", "user", "unlimited")
        with talking(here.port, additional_headers=bearer(key)) as client:
            assert client.ask(SMALL | {"id": 1})["type"] == "final"
            keys.revoke(record.id)
            fast_forward(CACHED_S)
            last = client.ask(SMALL | {"id": 2})
            assert last["status"] == 401
            assert "revoked" in last["message"]


def test_an_insufficient_role_is_named(client, keys):
    _, key = keys.create("", "read-only", "public")
    refused = client.post("/rerank", json=BODY, headers=bearer(key))
    problem(refused, 403, "needs the role user, and yours is read-only")
    assert client.get("/v1/models", headers=bearer(key)).status_code == 200


def test_a_key_of_another_database_is_not_known(client, tmp_path):
    with key_store(settings_of(tmp_path / "elsewhere")) as elsewhere:
        _, key = elsewhere.create("", "user", "public")
    problem(client.post("/rerank", json=BODY, headers=bearer(key)), 401, "not known")


def test_a_jwt_is_accepted_with_its_role(tmp_path):
    with serving(settings_of(tmp_path, jwt={"secret": SHARED})) as client:
        claims = ({}, {"role": "read-only"}, {"exp": 1}, {"role": "root"})
        statuses = [status(client, token(SHARED, "HS256", **claim)) for claim in claims]
        assert statuses == [200, 403, 401, 401]


def test_a_body_without_authentication_is_not_parsed(client):
    problem(client.post("/rerank", content=b"{"), 401, "needs a key")


def test_a_lost_database_is_reported_and_cached_keys_stay_valid(tmp_path, monkeypatch, fast_forward):
    monkeypatch.setattr("app.auth.authenticator.CACHED_S", 3600)
    with PostgresServer() as server:
        settings = settings_of(tmp_path, database_url=server.database(), keys=["of-the-environment"])
        with serving(settings) as client, key_store(settings) as keys:
            _, key = keys.create("", "user", "unlimited")
            assert status(client, key) == 200
            server.kill()
            assert status(client, key) == 200, "is cached"
            fast_forward(3600)
            lost = client.post("/rerank", json=BODY, headers=bearer(key))
            problem(lost, 503, "keys cannot be checked")
            assert lost.headers["retry-after"] == "1"
            assert status(client, "of-the-environment") == 200
            assert client.get("/health/ready").status_code == 200
            server.start()
            eventually(lambda: status(client, key) == 200)


def test_a_service_starts_before_its_database(tmp_path):
    with PostgresServer() as server:
        url = server.database()
        server.kill()
        settings = settings_of(tmp_path, database_url=url)
        with serving(settings) as client:
            problem(client.get("/v1/models", headers=bearer("qr_abcdefgh_" + "x" * 43)), 503, "keys cannot be checked")
            server.start()
            eventually(lambda: status(client, "qr_abcdefgh_" + "x" * 43) == 401)


@pytest.mark.parametrize("enabled", [True, False])
def test_a_service_without_authentication_logs_a_warning(tmp_path, caplog, enabled):
    with serving(Settings(model="hash", data_dir=tmp_path, auth={"enabled": enabled})):
        warnings = [record for record in caplog.records if "QRERANK_AUTH__ENABLED is false" in record.message]
    assert [record.levelno for record in warnings] == ([] if enabled else [logging.WARNING])
