"""Collections in a real Milvus, which is killed, hangs and comes back: one machine writes, another searches."""

import pytest

from app.settings import Settings
from tests.app.problems import problem
from tests.conftest import serving
from tests.waiting import eventually

pytestmark = pytest.mark.milvus

OWL = {"id": "owl", "text": "An owl hunts at night."}
LAMP = {"id": "lamp", "text": "A lamp in the hall."}
ASKED = {"query": "which bird hunts at night"}


@pytest.fixture
def machines(milvus_process, tmp_path):
    """A client of a machine that keeps documents, and of one that only searches."""

    def settings(name: str) -> Settings:
        index = {"url": milvus_process.url, "timeout_ms": 300}
        return Settings(
            model="hash", data_dir=tmp_path / name, index=index, default_collection="birds", health={"probe_every_s": 0}
        )

    with serving(settings("writer")) as writer, serving(settings("reader")) as reader:
        eventually(lambda: writer.put("/v1/collections/birds").status_code == 201)
        put(writer, [OWL, LAMP])
        for client in (writer, reader):
            eventually(lambda client=client: client.get("/health/ready").status_code == 200)
        yield writer, reader
        milvus_process.revive()
        eventually(lambda: writer.delete("/v1/collections/birds").status_code in {204, 404})


def put(client, documents, wait="searchable"):
    answer = client.post("/v1/collections/birds/documents", json={"documents": documents, "wait": wait})
    assert answer.status_code == 200, answer.text
    return answer.json()


def search(client):
    return client.post("/v1/collections/birds/search", json=ASKED)


def found(client) -> list[str]:
    answer = search(client)
    assert answer.status_code == 200, answer.text
    return sorted(row["document"]["id"] for row in answer.json()["results"])


def breaker(client):
    return client.app.state.dependencies.collections.milvus.breaker


def test_every_machine_finds_what_one_writes(machines):
    writer, reader = machines
    for client in machines:
        assert found(client) == ["lamp", "owl"]
        assert "words" in search(client).json()["meta"]["degraded"]
    assert writer.get("/v1/collections/birds").json()["passages"] == 2
    assert put(writer, [{"id": "owl", "text": "An owl sleeps by day."}])["changed"] == 1
    texts = {row["document"]["text"] for row in search(reader).json()["results"]}
    assert texts == {"An owl sleeps by day.", LAMP["text"]}
    assert writer.delete("/v1/collections/birds/documents/lamp").status_code == 200
    assert found(reader) == found(writer) == ["owl"]
    chosen = writer.post("/v1/collections/birds/search", json=ASKED | {"ids": ["owl"]})
    assert [row["document"]["id"] for row in chosen.json()["results"]] == ["owl"]
    problem(reader.post("/v1/collections/birds/search", json=ASKED | {"ids": ["owl"]}), 422, "another machine")
    problem(reader.get("/v1/collections/birds/documents"), 404, "kept by another machine")
    problem(reader.put("/v1/collections/birds"), 409, "another machine")
    problem(reader.post("/v1/collections/none/search", json=ASKED), 404, "there is no collection 'none'")
    assert writer.delete("/v1/collections/birds").status_code == 204
    problem(search(reader), 404, "there is no collection 'birds'")


@pytest.mark.parametrize("outage", ["killed", "hanging"])
def test_an_outage_costs_searches_only_and_ends_by_itself(machines, milvus_process, outage, count):
    writer, reader = machines
    assert found(reader) == ["lamp", "owl"]
    if outage == "killed":
        milvus_process.kill()
    else:
        milvus_process.hang()
    refused = 0
    for client in machines:
        while breaker(client).available:
            problem(search(client), 503, "Milvus does not answer")
            refused += 1
        answer = search(client)
        refused += 1
        assert (answer.headers["retry-after"], answer.json()["error_type"]) == ("1", "index-unavailable")
        assert client.post("/rerank", json=ASKED | {"documents": [OWL["text"]]}).status_code == 200
        assert client.get("/health/ready").status_code == 200
        component = client.get("/health/detailed").json()["components"]["milvus"]
        assert (component["status"], "Milvus at 127.0.0.1" in component["last_error"]) == ("degraded", True)
    assert put(writer, [{"id": "bat", "text": "A bat hunts at night."}], "stored")["stored"] == 1
    problem(writer.delete("/v1/collections/birds/documents/lamp"), 503, "Milvus does not answer")
    milvus_process.revive()
    for client in machines:
        eventually(lambda client=client: search(client).status_code == 200)
        eventually(lambda client=client: found(client) == ["bat", "owl"])
    eventually(lambda: writer.get("/v1/collections/birds").json()["waiting"] == 0)
    count(f"searches while Milvus is {outage}", refused + 2, refused, 2)
