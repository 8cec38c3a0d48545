"""Feedback over HTTP: rankings are judged, weights follow, and nobody judges what is somebody else's."""

import json
import logging

import pytest

from app.auth.stores import open_records
from app.settings import Settings
from tests.app.problems import problem
from tests.conftest import serving

DOCUMENTS = ["an owl sings", "owl owl owl owl", "a river", "market prices", "the song of a bird"]
BODY = {"query": "owl song", "documents": DOCUMENTS}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("feedback")
    settings = Settings(model="hash", data_dir=data_dir, auth={"enabled": True}, feedback={"enabled": True})
    records = open_records(settings.auth, data_dir)
    keys = {tier: records.keys.create("", "user", tier)[1] for tier in ("standard", "premium")}
    admin = records.keys.create("", "admin", "unlimited")[1]
    records.database.close()
    with serving(settings) as client:
        client.headers["Authorization"] = keys["standard"]
        client.admin = {"Authorization": admin}
        client.other = {"Authorization": keys["premium"]}
        client.put("/v1/collections/birds", json={})
        documents = [{"id": f"id {at}", "text": text} for at, text in enumerate(DOCUMENTS)]
        client.post("/v1/collections/birds/documents", json={"documents": documents, "wait": "searchable"})
        yield client


@pytest.fixture(autouse=True)
def forgotten(client):
    yield
    client.delete("/v1/feedback", headers=client.admin)


def ranked(client, body=BODY, path="/rerank", **headers):
    response = client.post(path, json=body, headers=headers)
    assert response.status_code == 200, response.text
    return response.headers["X-Request-ID"], response.json()["results"]


def judge(client, request_id, status=200, headers=None, **said):
    response = client.post("/v1/feedback", json={"request_id": request_id, **said}, headers=headers)
    assert response.status_code == status, response.text
    return response.json()


def standings(client):
    return client.get("/v1/feedback", headers=client.admin).json()["data"]


def test_the_weights_follow_what_is_said(client):
    _, before = ranked(client)
    last = before[-1]["index"]
    for _ in range(30):
        request_id, _ = ranked(client)
        assert judge(client, request_id, index=last, label="relevant")["accepted"] == 1
    [learned] = standings(client)
    assert (learned["collection"], learned["key_group"], learned["judged"]) == (None, "standard", 30)
    assert sum(learned["weights"].values()) == pytest.approx(1)
    assert learned["weights"] != pytest.approx({"classical": 0.2, "quantum": 0.4, "lexical": 0.4}, abs=0.01)
    assert client.delete("/v1/feedback?collection=&key_group=standard", headers=client.admin).json()["callers"] == 1
    assert standings(client) == []
    assert ranked(client)[1] == before  # to the last digit as without feedback


def test_documents_of_a_collection_are_judged_by_id(client):
    search = {"query": "owl song"}
    request_id, _ = ranked(client, search, "/v1/collections/birds/search")
    said = [{"id": "id 1", "label": "relevant"}, {"id": "id 1", "label": "not"}, {"index": 0, "label": "clicked"}]
    answer = judge(client, request_id, judgements=said)
    assert answer["accepted"] + answer["repeated"] == 3
    assert judge(client, request_id, id="id 1", label="not") == {
        "object": "feedback",
        "request_id": request_id,
        "accepted": 0,
        "repeated": 1,
    }
    assert [(row["collection"], row["callers"]) for row in standings(client)] == [("birds", 1)]


def test_an_alias_learns_for_its_collection(client):
    client.put("/v1/aliases/live", json={"collection": "birds"})
    request_id, _ = ranked(client, {"query": "owl song"}, "/v1/collections/live/search")
    judge(client, request_id, id="id 1", label="relevant")
    assert [row["collection"] for row in standings(client)] == ["birds"]


@pytest.mark.parametrize("own", ["a", 7, "é" * 128, "\x00" * 128, "'" * 128])
@pytest.mark.parametrize("connection", [None, "c" * 128])
def test_a_ranking_over_a_websocket_is_judged_by_the_id_in_its_last_frame(client, own, connection):
    headers = {"Authorization": client.headers["Authorization"]} | ({"X-Request-ID": connection} if connection else {})
    with client.websocket_connect("/v1/ws", headers=headers) as socket:
        socket.send_json(BODY | {"type": "rerank", "id": own})
        while (frame := socket.receive_json())["type"] == "order":
            pass
    assert (frame["type"], frame["id"]) == ("final", own)
    assert len(frame["request_id"]) <= 128
    assert judge(client, frame["request_id"], index=0, label="relevant")["accepted"] == 1


@pytest.mark.parametrize(
    "parameters",
    [
        "colection=birds",
        "collection=%00",
        "key_group=%00",
        "key_group=gold",
        "collection=birds&x=1",
        "collection=birds&collection=",  # the last one alone would count
    ],
)
def test_what_is_mistyped_forgets_nothing(client, parameters):
    judge(client, ranked(client)[0], index=0, label="relevant")
    problem(client.delete(f"/v1/feedback?{parameters}", headers=client.admin), 422, "")
    assert len(standings(client)) == 1


def test_what_an_admin_forgets_is_in_the_audit_log(client, caplog):
    judge(client, ranked(client)[0], index=0, label="relevant")
    caplog.clear()
    audited = logging.getLogger("qrerank.audit")
    audited.addHandler(caplog.handler)
    try:
        client.delete("/v1/feedback?collection=", headers=client.admin)
    finally:
        audited.removeHandler(caplog.handler)
    [line] = [json.loads(record.message) for record in caplog.records if record.name == "qrerank.audit"]
    assert (line["event"], line["collection"], line["key_group"], line["callers"]) == (
        "feedback.forgotten",
        "",
        None,
        1,
    )


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"index": 0},
        {"label": "relevant"},
        {"index": 0, "id": "id 1", "label": "relevant"},
        {"index": -1, "label": "relevant"},
        {"index": True, "label": "relevant"},
        {"index": 5, "label": "relevant"},
        {"index": 0, "label": "good"},
        {"id": "id 1", "label": "relevant"},  # these documents have no ids
        {"judgements": []},
        {"judgements": [{"label": "relevant"}]},
        {"judgements": [{"index": 0, "label": "not"}], "index": 0},
        {"index": 0, "label": "relevant", "extra": 1},
    ],
)
def test_what_cannot_be_learned_from_is_refused(client, said):
    request_id, _ = ranked(client)
    assert judge(client, request_id, 422, **said)["code"] == "invalid-request"
    assert standings(client) == []


def test_only_rankings_of_several_rankers_by_the_same_key_are_judged(client, monkeypatch):
    monkeypatch.setattr("app.feedback.feedback.WRITE_EVERY_S", 0)  # an unknown ranking is waited for
    request_id, _ = ranked(client)
    quantum, _ = ranked(client, BODY | {"method": "quantum"})
    for name, headers in (
        (request_id, client.other),
        (quantum, None),
        ("unknown", None),
        ("a\x00b", None),
        ("é", None),
    ):
        answer = judge(client, name, 404, headers, index=0, label="relevant")
        assert answer["code"] == "unknown-request"
    assert client.get("/v1/feedback").status_code == 403
    assert client.delete("/v1/feedback").status_code == 403


def test_it_survives_a_restart_and_is_off_by_default(tmp_path):
    settings = Settings(model="hash", data_dir=tmp_path, feedback={"enabled": True})
    with serving(settings) as client:
        judge(client, ranked(client)[0], index=0, label="relevant")
        learned = ranked(client)[1]
    with serving(settings) as client:
        assert ranked(client)[1] == learned
        judge(client, ranked(client)[0], index=1, label="not")
    with serving(Settings(model="hash", data_dir=tmp_path)) as client:
        answer = judge(client, ranked(client)[0], 404, index=0, label="relevant")
        assert "QRERANK_FEEDBACK__ENABLED" in answer["message"]
