"""Key management over HTTP, its authorization, and its audit log."""

import json
import re

import pytest

from app.auth.stores import open_records
from app.settings import Settings
from tests.app.problems import problem
from tests.conftest import serving
from tests.waiting import eventually

BODY = {"query": "owl", "documents": ["an owl"]}
WRONG = [
    ({"tier": "gold"}, "tier"),
    ({"role": "root"}, "role"),
    ({"expires_days": 0}, "expires_days"),
    ({"expires_days": 1e9}, "expires_days"),
    ({"expires": 7}, "expires"),
    ({"name": "x" * 129}, "name"),
    ({"name": "a\nb"}, "name"),
    ({"name": "\u0000"}, "name"),
    ({"name": "a\x1b[31m"}, "name: a name is one line"),
    ({"name": "a\x9b"}, "name"),
    ({"name": "exe.\u202etxt"}, "name"),
    ({"name": "\u2066a"}, "name"),
    ({"name": "a\u200f"}, "name"),
    ({"name": "a\u2028b"}, "name"),
    ({"collections": "birds"}, "collections"),
    ({"collections": ["a*b"]}, "such as team-a-*"),
    ({"collections": ["a"] * 65}, "collections"),
    ({"read_only": "perhaps"}, "read_only"),
    ({"role": "admin", "collections": []}, "cannot be limited"),
    ({"role": "admin", "read_only": True}, "cannot be limited"),
    ([], "object"),
]
KEY = r"qr_[a-z0-9]{8}_[\w-]{43}"


@pytest.fixture
def settings(tmp_path):
    auth = {"enabled": True, "audit_file": tmp_path / "audit.jsonl"}
    return Settings(model="hash", data_dir=tmp_path / "data", auth=auth)


@pytest.fixture
def made(settings):
    """A key of each role."""
    records = open_records(settings.auth, settings.data_dir)
    keys = {role: records.keys.create(role, role, "unlimited")[1] for role in ("read-only", "user", "admin")}
    records.database.close()
    return keys


@pytest.fixture
def client(settings, made):
    with serving(settings) as started:
        started.headers["Authorization"] = f"Bearer {made['admin']}"
        yield started


def opens(client, key):
    return client.post("/rerank", json=BODY, headers={"Authorization": f"Bearer {key}"}).status_code == 200


def audit_lines(settings):
    return [json.loads(line) for line in settings.auth.audit_file.read_text().splitlines()]


def test_a_key_is_created_shown_once_and_accepted(client):
    response = client.post("/v1/admin/keys", json={"name": " search ", "tier": "premium", "expires_days": 1})
    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    key = response.json()
    assert re.fullmatch(KEY, key["key"])
    assert (key["object"], key["name"], key["role"], key["tier"]) == ("key", "search", "user", "premium")
    assert (key["status"], key["revoked"], key["last_used"], key["replaced"]) == ("active", None, None, [])
    assert opens(client, key["key"])
    listed = client.get("/v1/admin/keys")
    assert listed.json()["object"] == "list"
    del key["key"]
    assert key in [row | {"last_used": None} for row in listed.json()["data"]]
    assert not re.search(KEY, listed.text)


def test_the_limits_of_a_key_are_shown_and_logged(client, settings):
    most = ["birds", *["team-a-*"] * 63]
    limited = client.post("/v1/admin/keys", json={"collections": most, "read_only": True}).json()
    free = client.post("/v1/admin/keys", json={"role": "admin", "read_only": False, "collections": None}).json()
    shown = [(key["collections"], key["read_only"]) for key in client.get("/v1/admin/keys").json()["data"]]
    assert shown[-2:] == [(most, True), (None, False)]
    assert [(key["collections"], key["read_only"]) for key in (limited, free)] == shown[-2:]
    assert [(line["collections"], line["read_only"]) for line in audit_lines(settings)[:2]] == shown[-2:]


def test_a_body_is_not_needed(client):
    key = client.post("/v1/admin/keys").json()
    assert (key["name"], key["role"], key["tier"], key["expires"]) == ("", "user", "standard", None)
    assert client.post(f"/v1/admin/keys/{key['id']}/rotate").json()["replaced"][0]["prefix"] == key["prefix"]


def test_rotation_overlaps_and_revocation_is_immediate_in_its_process(client):
    old = client.post("/v1/admin/keys", json={"tier": "unlimited"}).json()
    new = client.post(f"/v1/admin/keys/{old['id']}/rotate", json={"overlap_hours": 1}).json()
    assert new["id"] == old["id"]
    assert opens(client, old["key"])
    assert opens(client, new["key"])
    newest = client.post(f"/v1/admin/keys/{new['prefix']}/rotate", json={"overlap_hours": 0}).json()
    assert newest["replaced"] == []
    assert [opens(client, key["key"]) for key in (old, new, newest)] == [False, False, True]
    revoked = client.delete(f"/v1/admin/keys/{old['id']}")
    assert revoked.json()["status"] == "revoked"
    assert "key" not in revoked.json()
    assert not opens(client, newest["key"])
    problem(client.post(f"/v1/admin/keys/{old['id']}/rotate"), 422, "create a new one")


def test_replaced_keys_are_shown_as_long_as_they_open(client):
    """No longer than their key, however long the overlap, and not once it is revoked."""
    key = client.post("/v1/admin/keys", json={"expires_days": 1}).json()
    rotated = client.post(f"/v1/admin/keys/{key['id']}/rotate", json={"overlap_hours": 48}).json()
    assert rotated["replaced"] == [{"prefix": key["prefix"], "expires": key["expires"]}]
    assert client.delete(f"/v1/admin/keys/{key['id']}").json()["replaced"] == []


def test_invalid_keys_are_refused(client):
    for body, message in WRONG:
        problem(client.post("/v1/admin/keys", json=body), 422, message)


def test_a_body_that_is_not_json_is_refused(client):
    problem(client.post("/v1/admin/keys", content=b"{"), 400, "JSON")
    problem(client.post("/v1/admin/keys/x/rotate", json={"overlap_hours": -1}), 422, "overlap_hours")


def test_a_key_that_does_not_exist_is_not_found(client):
    problem(client.delete("/v1/admin/keys/key_0"), 404, "no key has this id")
    problem(client.post("/v1/admin/keys/key_0/rotate"), 404, "no key has this id")


def test_only_administrators_manage_keys_and_refusals_are_logged(client, made, settings):
    for method, path in (("GET", ""), ("POST", ""), ("DELETE", "/x"), ("POST", "/x/rotate")):
        for role in ("read-only", "user"):
            refused = client.request(method, f"/v1/admin/keys{path}", headers={"Authorization": made[role]})
            problem(refused, 403, "needs the role admin")
        problem(client.request(method, f"/v1/admin/keys{path}", headers={"Authorization": "x"}), 401, "not known")
    lines = audit_lines(settings)
    assert {line["event"] for line in lines} == {"admin.refused"}
    assert [line["result"] for line in lines] == ["forbidden", "forbidden", "unauthorized"] * 4
    assert lines[0]["by"] == made["read-only"][:11]
    assert (lines[0]["method"], lines[0]["path"]) == ("GET", "/v1/admin/keys")


def test_without_authentication_the_error_says_how_to_enable_it(tmp_path):
    with serving(Settings(model="hash", data_dir=tmp_path)) as client:
        problem(client.get("/v1/admin/keys"), 403, "QRERANK_AUTH__ENABLED=true")


def test_every_event_is_one_audit_line(client, made, settings):
    key = client.post("/v1/admin/keys", json={"tier": "premium"}).json()
    client.post(f"/v1/admin/keys/{key['id']}/rotate")
    client.get("/v1/admin/keys")
    client.delete(f"/v1/admin/keys/{key['id']}")
    client.delete(f"/v1/admin/keys/{key['key']}")
    opens(client, key["key"])
    lines = audit_lines(settings)
    assert [(line["event"], line["result"]) for line in lines] == [
        ("key.created", "done"),
        ("key.rotated", "done"),
        ("key.listed", "done"),
        ("key.revoked", "done"),
        ("key.revoked", "failed"),
        ("key.refused", "refused"),
    ]
    assert {line["by"] for line in lines[:5]} == {made["admin"][:11]}
    assert {line["from"] for line in lines} == {"testclient"}
    assert (lines[0]["key"], lines[0]["id"], lines[0]["tier"]) == (key["prefix"], key["id"], "premium")
    assert all(re.match(r"\d{4}-\d\d-\d\dT", line["time"]) for line in lines)
    assert not re.search(KEY, settings.auth.audit_file.read_text())


def test_keys_may_be_managed_while_requests_are_served(client):
    """Changes clear the credential cache; requests of other keys are not refused."""
    key = client.post("/v1/admin/keys", json={"tier": "unlimited"}).json()["key"]
    for _ in range(5):
        assert opens(client, key)
        client.post("/v1/admin/keys")


def test_last_use_is_reported(client):
    key = client.post("/v1/admin/keys", json={"tier": "unlimited"}).json()
    assert opens(client, key["key"])

    def last_used():
        [row] = [row for row in client.get("/v1/admin/keys").json()["data"] if row["id"] == key["id"]]
        return row["last_used"]

    assert eventually(last_used) >= key["created"]
