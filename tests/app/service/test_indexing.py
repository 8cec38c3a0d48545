"""Collections of a model that the running service does not serve: nothing is lost, and everybody is told why."""

import threading

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.service.indexing import Indexing
from app.settings import Settings
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.index.passage_index import Model
from retrieval.store.collection import Collection
from retrieval.store.indexer import begin_encoding, build
from retrieval.store.jobs import COMPACT, Writing
from retrieval.store.rows import Document
from retrieval.text.passages import Passage
from tests.app.problems import problem
from tests.app.reports import component
from tests.conftest import serving
from tests.waiting import PATIENT_S, eventually

PATH = "/v1/collections/birds"
TOLD = (
    "the collection 'birds' was made with the model 'new', which is not served: add it to QRERANK_MODELS, or read it "
    "anew with `qrerank index encode birds --model hash`"
)


class New(HashEncoder):
    name, digest = "new", "new"


@pytest.fixture
def folder(tmp_path):
    """A collection of the model `new`, of which one document still waits."""
    folder = tmp_path / "collections" / "birds"
    build(folder, [Passage("a", "", "an owl"), Passage("b", "", "an owl song")], New(), lambda *_: None)
    collection = Collection(folder)
    collection.put([Document("c", "an owl hunts")], Writing("waits"))
    collection.close()
    return folder


@pytest.fixture
def client(folder, tmp_path):
    with serving(Settings(model="hash", data_dir=tmp_path)) as client:
        yield client


def put(client, **fields):
    return client.post(f"{PATH}/documents", json={"documents": [{"id": "d", "text": "an owl sleeps"}], **fields})


def search(client, **fields):
    return client.post(f"{PATH}/search", json={"query": "owl", **fields})


def test_a_write_is_refused_and_keeps_nothing_and_the_job_of_an_earlier_one_says_why_it_waits(client):
    for sent in ({}, {"wait": "searchable"}):
        answer = put(client, **sent)
        problem(answer, 409, TOLD)
        assert answer.json()["error_type"] == "model-not-served"
    stream = client.post(
        f"{PATH}/documents", content=b'{"id": "d", "text": "owl"}\n', headers={"Content-Type": "application/x-ndjson"}
    )
    problem(stream, 409, TOLD)
    job = client.get("/v1/jobs/birds.waits").json()
    assert (job["status"], job["error"], job["done"], job["total"]) == ("running", TOLD, 0, 1)
    assert client.get(f"{PATH}/jobs").json()["data"] == [job]
    described = client.get(PATH).json()
    assert (described["documents"], described["waiting"]) == (3, 1), "what was acknowledged is kept"


def test_an_upload_that_meets_it_halfway_says_how_far_it_came(client, folder):
    collection = Collection(folder)
    collection.put([Document("e", "an owl")], Writing("half", is_complete=False))
    ingestion = client.app.state.dependencies.ingestion
    ingestion.put("birds", [], Writing("half", error="it broke off"))
    assert client.get("/v1/jobs/birds.half").json()["error"] == "it broke off"


def test_the_log_says_why_documents_wait_once(client, caplog):
    eventually(lambda: TOLD in caplog.text)
    indexing = client.app.state.dependencies.ingestion.indexing
    for _ in range(3):
        indexing._index_safely("birds")
    lines = [record.message for record in caplog.records if "cannot be indexed" in record.message]
    assert lines == [f"the documents of the collection birds cannot be indexed yet: {TOLD}"]


def test_segments_are_merged_without_the_model(client):
    job = client.post(f"{PATH}/compact").json()
    assert job["kind"] == COMPACT
    eventually(lambda: client.get(f"/v1/jobs/{job['id']}").json()["status"] == "done")


def test_encoding_it_with_a_served_model_mends_it_over_http(client):
    problem(search(client), 409, TOLD)
    job = client.post(f"{PATH}/encode", json={"model": "hash"}).json()
    eventually(lambda: client.get(f"/v1/jobs/{job['id']}").json()["status"] == "done")
    assert client.get("/v1/jobs/birds.waits").json()["error"] is None
    assert put(client, wait="searchable").json()["searchable"]
    assert sorted(row["document"]["id"] for row in search(client).json()["results"]) == ["a", "b", "c", "d"]
    assert component(client, "index")["status"] == "ok"


def test_while_a_served_model_encodes_it_writes_are_taken(client, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Indexing, "_encode_some", lambda *_: False)
        assert client.post(f"{PATH}/encode", json={"model": "hash"}).status_code == 200
        job = put(client).json()["job"]
        assert client.get(f"/v1/jobs/{job}").json()["error"] is None
    eventually(lambda: client.get(f"/v1/jobs/{job}").json()["status"] == "done")
    assert len(search(client).json()["results"]) == 4


def test_an_encoding_with_a_model_that_is_not_served_is_left_to_others_and_said(tmp_path, caplog):
    folder = tmp_path / "collections" / "birds"
    build(folder, [Passage("a", "", "an owl")], HashEncoder(), lambda *_: None)
    collection = Collection(folder)
    begin_encoding(collection, New(), Model.of(New()))
    with serving(Settings(model="hash", data_dir=tmp_path)) as client:
        assert put(client, wait="searchable").json()["searchable"]
        eventually(lambda: "go on with `qrerank index encode birds --model new`" in caplog.text)
        assert len(search(client).json()["results"]) == 2
    assert collection.encoding().done == 0


def test_until_the_models_are_loaded_writes_are_taken(folder, tmp_path, monkeypatch):
    free = threading.Event()
    monkeypatch.setattr("app.engine.loader.load_encoder", lambda *_, **__: free.wait(PATIENT_S) and HashEncoder())
    with TestClient(create_app(Settings(model="hash", data_dir=tmp_path))) as client:
        try:
            assert put(client).status_code == 200
        finally:
            free.set()
        eventually(lambda: put(client).status_code == 409)
