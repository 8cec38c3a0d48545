"""A real server with everything that is secret: what it wrote has none of it, and what was used survives its death."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.auth.database import Database, url_of
from app.auth.keys import Pepper
from app.auth.sql_usage import SqlUsage
from scripts.trial import free_port
from tests.app.auth.issuer import RSA, token
from tests.postgres_server import PASSWORD, PostgresServer

HIDDEN = {
    "QRERANK_AUTH__KEYS": "hidden-key-of-the-environment",
    "QRERANK_AUTH__PEPPER": "hidden-pepper-of-thirty-two-characters",
    "QRERANK_AUTH__JWT__SECRET": "hidden-text-that-the-issuer-shares-with-us",
}
BODY = {"query": "owl", "documents": ["an owl", "a river"]}


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture
def environment(postgres, tmp_path):
    return (
        os.environ
        | HIDDEN
        | {
            "QRERANK_AUTH__ENABLED": "true",
            "QRERANK_AUTH__KEYS": json.dumps([HIDDEN["QRERANK_AUTH__KEYS"]]),
            "QRERANK_AUTH__DATABASE_URL": postgres.database(),
            "QRERANK_DATA_DIR": str(tmp_path / "data"),
            "QRERANK_MODEL": "hash",
            "QRERANK_ENGINE__DRAIN_SECONDS": "0",
        }
    )


def qrerank(environment, *words):
    command = [Path(sys.executable).parent / "qrerank", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    assert done.returncode == 0, done.stderr
    return done


@contextmanager
def serving(environment, log):
    """A client of a server process, and that process."""
    port = free_port()
    command = [Path(sys.executable).parent / "qrerank", "serve", "--port", str(port)]
    with log.open("a") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)  # noqa: S603 - our own
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        end = time.monotonic() + 60
        while not ready(client):
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        yield client, process
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    process.wait(30)


def ready(client):
    try:
        return client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def test_no_secret_is_written_anywhere_and_usage_survives(environment, postgres, tmp_path):
    log = tmp_path / "log"
    created = qrerank(environment, "keys", "create", "--tier", "standard", "--role", "admin", "--json")
    admin = json.loads(created.stdout)
    written = [created.stderr]
    with serving(environment, log) as (client, process):
        mine = token(HIDDEN["QRERANK_AUTH__JWT__SECRET"], "HS256")
        made = client.post("/v1/admin/keys", json={"tier": "premium"}, headers=bearer(admin["key"])).json()
        wrong = made["key"][:-1] + ("a" if made["key"][-1] != "a" else "b")
        statuses = [
            client.post("/rerank", json=BODY, headers=bearer(key)).status_code
            for key in (admin["key"], made["key"], HIDDEN["QRERANK_AUTH__KEYS"], mine, wrong, token(RSA), mine + "x")
        ]
        assert statuses == [200, 200, 200, 200, 401, 401, 401]
        written += [client.get(path, headers=bearer(made["key"])).text for path in ("/info", "/metrics", "/v1/usage")]
        rotated = client.post(f"/v1/admin/keys/{made['id']}/rotate", headers=bearer(admin["key"])).json()
        client.delete(f"/v1/admin/keys/{made['id']}", headers=bearer(admin["key"]))
        written += [client.post("/rerank", json=BODY, headers=bearer(key["key"])).text for key in (made, rotated)]
        time.sleep(1.5)  # usage is written every second
        postgres.kill()
        lost = client.post("/rerank", json=BODY, headers=bearer(wrong))
        assert lost.status_code == 503
        written.append(lost.text)
        postgres.start()
        process.kill()
    written.append(log.read_text())
    database = Database(
        url_of(environment["QRERANK_AUTH__DATABASE_URL"], tmp_path), Pepper(HIDDEN["QRERANK_AUTH__PEPPER"])
    )
    used = SqlUsage(database).read(1, made["id"])
    database.close()
    assert [(day.requests, day.documents) for day in used] == [(2, 2)]  # a rerank and a look at usage
    written += [file.read_text("latin-1") for file in (tmp_path / "data").rglob("*") if file.is_file()]
    everything = "\n".join(written)
    assert '"event":"key.revoked"' in everything
    secrets = [*HIDDEN.values(), PASSWORD, mine.rpartition(".")[2]]
    secrets += [key[12:] for key in (admin["key"], made["key"], rotated["key"], wrong)]  # without their prefixes
    assert all(len(secret) > 20 for secret in secrets)
    assert [secret for secret in secrets if secret in everything] == []
