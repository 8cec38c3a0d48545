"""A real server with all kinds of secrets: none appears in its output, and usage survives a crash."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.auth.database import Database, url_of
from app.auth.keys import Pepper
from app.auth.sql_usage import SqlUsage
from tests.app.auth.issuer import RSA, token
from tests.postgres_server import PASSWORD, PostgresServer
from tests.processes import running
from tests.waiting import eventually

pytestmark = pytest.mark.slow

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


def used(environment, folder, who):
    """A caller's requests and documents in the database."""
    url, pepper = url_of(environment["QRERANK_AUTH__DATABASE_URL"], folder), Pepper(HIDDEN["QRERANK_AUTH__PEPPER"])
    database = Database(url, pepper)
    days = SqlUsage(database).read(1, who)
    database.close()
    return [(day.requests, day.documents) for day in days]


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def test_no_secret_is_written_anywhere_and_usage_survives(environment, postgres, tmp_path):
    log = tmp_path / "log"
    created = qrerank(environment, "keys", "create", "--tier", "standard", "--role", "admin", "--json")
    admin = json.loads(created.stdout)
    written = [created.stderr]
    with running([Path(sys.executable).parent / "qrerank", "serve"], environment, log) as (process, client):
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
        # A rerank and a usage query, which are written within a second.
        eventually(lambda: used(environment, tmp_path, made["id"]) == [(2, 2)])
        postgres.kill()
        lost = client.post("/rerank", json=BODY, headers=bearer(wrong))
        assert lost.status_code == 503
        written.append(lost.text)
        postgres.start()
        process.kill()
    written.append(log.read_text())
    assert used(environment, tmp_path, made["id"]) == [(2, 2)]
    written += [file.read_text("latin-1") for file in (tmp_path / "data").rglob("*") if file.is_file()]
    everything = "\n".join(written)
    assert '"event":"key.revoked"' in everything
    secrets = [*HIDDEN.values(), PASSWORD, mine.rpartition(".")[2]]
    secrets += [key[12:] for key in (admin["key"], made["key"], rotated["key"], wrong)]  # without their prefixes
    assert all(len(secret) > 20 for secret in secrets)
    assert [secret for secret in secrets if secret in everything] == []
