"""Usage is counted on every route, and persists."""

import pytest

from app.api.dialects.keys import AllUsageResponse
from app.auth.stores import open_records
from app.settings import Settings
from tests.app.problems import problem
from tests.conftest import serving
from tests.waiting import eventually

DOCUMENTS = ["an owl song", "market prices", "a river"]


@pytest.fixture
def settings(tmp_path):
    quotas = {"public": {"documents": 5}}
    return Settings(model="hash", data_dir=tmp_path, auth={"enabled": True, "keys": ["k" * 16]}, quotas=quotas)


@pytest.fixture
def key(settings):
    records = open_records(settings.auth, settings.data_dir)
    made = records.keys.create("", "user", "public")[1]
    records.database.close()
    return made


def counted(settings, who=None):
    """The stored usage after the service has stopped."""
    records = open_records(settings.auth, settings.data_dir)
    days = records.usage.read(1, who)
    records.database.close()
    return days


def test_every_route_counts(settings, key):
    expected = []
    with serving(settings) as client:
        client.headers["Authorization"] = f"Bearer {key}"

        def post(path, body, documents, status=200):
            response = client.post(path, json=body)
            assert response.status_code == status, response.text
            expected.append(documents)

        post("/rerank", {"query": "owl", "documents": DOCUMENTS, "top_n": 1}, 3)
        post("/v1/rerank/stream", {"query": "owl", "documents": DOCUMENTS}, 3)
        post("/v1/similarity", {"text1": "owl", "text2": "an owl"}, 1)
        post("/v1/batch-similarity", {"queries": ["owl", "song"], "documents": DOCUMENTS}, 3)
        post("/v1/embeddings", {"input": DOCUMENTS}, 3)
        post("/rerank", {"query": "owl", "documents": DOCUMENTS * 2}, 0, 413)
        post("/rerank", {"query": ""}, 0, 422)
        assert client.get("/v1/models").status_code == 200
        with client.websocket_connect("/v1/ws") as socket:
            for documents in (DOCUMENTS, DOCUMENTS * 2):
                socket.send_json({"type": "rerank", "id": 1, "query": "owl", "documents": documents})
                while socket.receive_json()["type"] not in {"final", "error"}:
                    pass
            expected += [3, 0]
        assert client.get("/health").status_code == 200
        assert client.post("/rerank", json={}, headers={"Authorization": "x"}).status_code == 401
    [day] = counted(settings)
    assert day.who.startswith("key_")
    assert (day.requests, day.documents, day.rejected) == (len(expected) + 1, sum(expected), 2)
    assert day.tokens > 20


def test_callers_see_their_own_usage_and_it_survives_a_restart(settings, key):
    body = {"query": "owl", "documents": DOCUMENTS}
    for _ in range(2):
        with serving(settings) as client:
            assert client.post("/rerank", json=body, headers={"Authorization": key}).status_code == 200
            assert client.post("/rerank", json=body, headers={"Authorization": "k" * 16}).status_code == 200
    with serving(settings) as client:
        mine, other = (client.get("/v1/usage", headers={"Authorization": name}).json() for name in (key, "k" * 16))
    assert (mine["object"], mine["name"], mine["kept"]) == ("usage", key[:11], True)
    assert other["name"].startswith("env:")
    for body in (mine, other):
        [day] = body["data"]
        assert (day["requests"], day["documents"], day["rejected"]) == (2, 6, 0)


def test_usage_is_stored_while_the_service_runs(settings, key):
    with serving(settings) as client:
        client.headers["Authorization"] = key
        client.get("/v1/models")
        eventually(lambda: client.get("/v1/usage").json()["data"])


def test_days_are_bounded(settings, key):
    with serving(settings) as client:
        for days in ("0", "367", "x", "", "1.5", "-1", "９"):
            problem(client.get("/v1/usage", params={"days": days}, headers={"Authorization": key}), 422, "days")
        problem(client.get("/v1/usage?day=1", headers={"Authorization": key}), 422, "takes `days`")


def test_without_authentication_no_usage_is_stored(client):
    assert client.get("/v1/usage").json() == {"object": "usage", "name": "anonymous", "kept": False, "data": []}


def test_administrators_see_what_all_callers_used(settings, key):
    with serving(settings) as client:
        keys = client.app.state.dependencies.auth.keys
        made, boss = keys.create("boss", "admin", "unlimited", None)
        for caller in (key, "k" * 16):
            body = {"query": "owl", "documents": DOCUMENTS}
            assert client.post("/rerank", json=body, headers={"X-API-Key": caller}).status_code == 200

        def used():
            answer = client.get("/v1/admin/usage?days=1", headers={"X-API-Key": boss}).json()
            AllUsageResponse.model_validate(answer, strict=True)
            return {row["caller"]: row["documents"] for row in answer["data"]}

        owner = next(each.id for each in keys.all() if each.id != made.id)
        eventually(lambda: len(used()) == 3)
        assert used()[owner] == len(DOCUMENTS)
        assert sorted(used().values()) == [0, 3, 3]
        problem(client.get("/v1/admin/usage?days=0", headers={"X-API-Key": boss}), 422, "days")
        problem(client.get("/v1/admin/usage", headers={"X-API-Key": key}), 403, "admin")
