"""Filters and ids over HTTP, against the real application with the weight-free model."""

import json

import orjson
import pytest

from app.api.dialects.detect import PATHS
from app.settings import LimitSettings, Settings
from retrieval.store.snapshot import Snapshot
from tests.app.problems import problem
from tests.conftest import serving

DOCUMENTS = [
    {"id": str(at), "text": f"The owl {at} sings.", "metadata": {"lang": "de" if at % 2 else "en", "at": at}}
    for at in range(6)
]
GERMAN = {"eq": {"lang": "de"}}
SEARCH = "/v1/collections/birds/search"
OF_BIRDS = {"query": "owl", "collection": "birds"}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    settings = Settings(
        model="hash", data_dir=tmp_path_factory.mktemp("data"), limits=LimitSettings(documents=len(DOCUMENTS))
    )
    with serving(settings) as started:
        yield started


@pytest.fixture(autouse=True)
def birds(client):
    client.put("/v1/collections/birds")
    body = {"documents": DOCUMENTS, "wait": "searchable"}
    assert client.post("/v1/collections/birds/documents", json=body).json()["searchable"]


def rows(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def ids(answer) -> list[str]:
    return sorted(row["document"]["id"] for row in rows(answer))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (GERMAN, "135"),
        ({"not": GERMAN}, "024"),
        ({"and": [GERMAN, {"range": {"at": {"gt": 1}}}]}, "35"),
        ({"exists": "lang"}, "012345"),
        ({"exists": "none"}, ""),
        (None, "012345"),
    ],
)
def test_only_documents_that_a_filter_leaves_are_found_and_listed(client, wanted, expected):
    assert "".join(ids(client.post(SEARCH, json={"query": "owl", "filter": wanted}))) == expected
    assert "".join(ids(client.post("/rerank", json=OF_BIRDS | {"filter": wanted}))) == expected
    assert "".join(streamed(client, OF_BIRDS | {"filter": wanted})) == expected
    if wanted:
        listed = client.get("/v1/collections/birds/documents", params={"filter": json.dumps(wanted), "limit": 2})
        first = listed.json()
        rest = client.get(
            "/v1/collections/birds/documents", params={"filter": json.dumps(wanted), "after": first["next"] or 10**9}
        ).json()
        assert "".join(each["id"] for each in first["data"] + rest["data"]) == expected


def streamed(client, body) -> list[str]:
    text = client.post("/v1/rerank/stream", json=body).text
    last = json.loads([line for line in text.splitlines() if line.startswith("data: ")][-1].removeprefix("data: "))
    with client.websocket_connect("/v1/ws") as socket:
        socket.send_json({"type": "rerank", "id": 1} | body)
        while (frame := socket.receive_json())["type"] != "final":
            assert frame["type"] == "order", frame
    found = [row["document"]["id"] for row in last["results"]]
    assert [row["document"]["id"] for row in frame["results"]] == found
    return sorted(found)


def test_documents_come_with_their_metadata(client):
    for row in rows(client.post(SEARCH, json={"query": "owl"})):
        assert row["document"]["metadata"] == DOCUMENTS[int(row["document"]["id"])]["metadata"]
    assert all(
        "document" not in row for row in rows(client.post(SEARCH, json={"query": "a", "return_documents": False}))
    )


def test_a_document_that_is_deleted_during_a_search_has_no_metadata(client, monkeypatch):
    original = Snapshot.passages

    def passages(self, positions):
        client.delete("/v1/collections/birds/documents/1")
        return original(self, positions)

    monkeypatch.setattr(Snapshot, "passages", passages)
    found = {
        row["document"]["id"]: row["document"]["metadata"] for row in rows(client.post(SEARCH, json={"query": "owl"}))
    }
    assert found.pop("1") is None
    assert set(found) == set("02345")
    assert None not in found.values()


def test_stored_documents_are_ranked_by_id(client):
    answer = client.post("/rerank", json=OF_BIRDS | {"ids": ["4", "none", "1", "4", "\0"], "explain": True})
    assert ids(answer) == ["1", "4"]
    assert answer.json()["meta"]["unknown_ids"] == ["none", "\0"]
    assert {row["index"]: row["document"]["id"] for row in rows(answer)} == {0: "4", 1: "1"}
    searched = client.post(SEARCH, json={"query": "owl", "filter": {"in": {"at": [1, 4]}}})
    scores = [{row["document"]["id"]: row["relevance_score"] for row in rows(each)} for each in (answer, searched)]
    assert scores[0] == scores[1], "ids are ranked as a search of the same documents ranks them"
    assert streamed(client, OF_BIRDS | {"ids": ["5"]}) == ["5"]
    nothing = client.post(SEARCH, json={"query": "owl", "ids": ["none"], "relevant_spans": True})
    assert (rows(nothing), nothing.json()["meta"]["unknown_ids"]) == ([], ["none"])
    assert "unknown_ids" not in client.post(SEARCH, json={"query": "owl"}).json()["meta"]


def test_as_many_ids_are_taken_as_documents(client):
    most = [str(at) for at in range(len(DOCUMENTS))]
    assert ids(client.post(SEARCH, json={"query": "owl", "ids": most})) == most
    problem(client.post(SEARCH, json={"query": "owl", "ids": [*most, "x"]}), 413, "7 ids were sent and at most 6")
    problem(client.post("/rerank", json=OF_BIRDS | {"ids": [*most, "x"]}), 413, "7 ids were sent and at most 6")


def test_documents_are_deleted_by_a_filter(client):
    delete = "/v1/collections/birds/documents/delete"
    assert client.post(delete, json={"filter": GERMAN}).json() == {"deleted": 3}
    assert ids(client.post(SEARCH, json={"query": "owl"})) == ["0", "2", "4"]
    assert client.post(delete, json={"filter": GERMAN}).json() == {"deleted": 0}
    assert client.post(delete, json={"ids": ["0"]}).json() == {"deleted": 1}
    for body in ({}, {"ids": ["2"], "filter": GERMAN}, {"filter": {}}, {"filter": {"and": []}}, {"ids": []}):
        problem(client.post(delete, json=body), 422, "")
    assert ids(client.post(SEARCH, json={"query": "owl"})) == ["2", "4"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"filter": {"lang": "de"}}, "filter: must be an object with exactly one of eq, in,"),
        ({"filter": "lang = de"}, "filter: must be an object"),
        (
            {"filter": {"and": [GERMAN, {"range": {"at": {"gt": "x"}}}]}},
            "filter: and.1.range: has a bound that is no date",
        ),
        ({"filter": GERMAN, "documents": ["owl"]}, "filter: selects documents of a collection"),
        ({"ids": ["1"], "documents": ["owl"]}, "ids: selects documents of a collection"),
        ({"ids": ["1"], "filter": GERMAN}, "send either `ids` or `filter`"),
        ({"ids": []}, "ids: must hold at least one entry"),
        ({"ids": [True]}, "ids.0: "),
        ({"ids": "1"}, "ids: "),
    ],
)
def test_what_cannot_be_selected_is_refused(client, fields, message):
    problem(client.post("/rerank", json=OF_BIRDS | fields), 422, message)
    if "documents" not in fields:
        problem(client.post(SEARCH, json={"query": "owl"} | fields), 422, message)


def test_deep_filters_are_refused_wherever_they_are_sent(client):
    for levels, status in ((20, 422), (1000, 400), (100_000, 400)):
        text = b'{"not":' * levels + b"{}" + b"}" * levels
        body = b'{"query":"owl","collection":"birds","filter":' + text + b"}"
        for path in (*PATHS[:5], "/v1/rerank/stream", SEARCH):
            assert client.post(path, content=body).status_code == status
        problem(
            client.post("/v1/collections/birds/documents/delete", content=b'{"filter":' + text + b"}"),
            status,
            "nested" if levels < 1024 else "JSON",
        )
        if levels <= 1000:
            listed = client.get("/v1/collections/birds/documents", params={"filter": text.decode()})
            problem(listed, 422, "nested deeper")
    problem(client.get("/v1/collections/birds/documents", params={"filter": "{"}), 422, "filter: is not JSON")


def test_a_filter_may_name_any_field(client):
    metadata = {'a."b"\\c': {"$": ["'; DROP TABLE documents; --", 2**53 + 1]}}
    document = {"id": "odd", "text": "odd", "metadata": metadata}
    client.post(
        "/v1/collections/birds/documents", content=orjson.dumps({"documents": [document], "wait": "searchable"})
    )
    field = 'a\\."b"\\\\c.$'
    for wanted, expected in (
        ({"eq": {field: "'; DROP TABLE documents; --"}}, ["odd"]),
        ({"eq": {field: 2**53 + 1}}, ["odd"]),
        ({"eq": {field: 2**53}}, []),
    ):
        assert ids(client.post(SEARCH, content=orjson.dumps({"query": "odd", "filter": wanted}))) == expected
    client.delete("/v1/collections/birds/documents/odd")


def test_a_filter_that_takes_longer_than_it_may_is_504_and_harms_nothing(client, monkeypatch):
    monkeypatch.setattr("retrieval.store.connection._STEPS", 1)
    monkeypatch.setattr("retrieval.store.selection._LONGEST_S", -1.0)
    slow = {"query": "owl", "filter": {"exists": "lang"}}
    problem(client.post(SEARCH, json=slow), 504, "filter: the filter takes too long")
    answer = client.get("/v1/collections/birds/documents", params={"filter": json.dumps(slow["filter"])})
    problem(answer, 504, "filter: the filter takes too long")
    monkeypatch.undo()
    assert ids(client.post(SEARCH, json=slow)) == list("012345")
