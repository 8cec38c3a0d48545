"""A collection that a running service encodes with another model."""

from dataclasses import replace

import pytest

from app.service.indexing import Indexing
from app.settings import Settings
from retrieval.encoder.hash_encoder import HashEncoder
from tests.app.problems import problem
from tests.conftest import serving
from tests.waiting import eventually

PATH = "/v1/collections/birds"


class New(HashEncoder):
    name, digest = "new", "new"

    def forward(self, batch):
        return super().forward([replace(text, ids=text.ids + 1) for text in batch])


@pytest.fixture
def client(tmp_path, monkeypatch):
    """A service with two models, and a collection of ten documents of the first one."""
    monkeypatch.setattr(
        "app.engine.loader.load_encoder", lambda name, *_, **__: New() if name == "new" else HashEncoder()
    )
    with serving(Settings(model="hash", models=("new",), data_dir=tmp_path)) as client:
        assert client.put(PATH).status_code == 201
        put(client, *(f"owl {at}" for at in range(10)))
        yield client


def put(client, *texts):
    documents = [{"id": text, "text": text} for text in texts]
    assert client.post(f"{PATH}/documents", json={"documents": documents, "wait": "searchable"}).json()["searchable"]


def search(client, **fields):
    return client.post(f"{PATH}/search", json={"query": "owl", "top_n": 100, **fields})


def test_the_old_model_serves_until_all_documents_are_encoded_and_then_the_new_one_does(client, monkeypatch):
    one = search(client).json()
    assert (one["model"], len(one["results"])) == ("hash", 10)
    with monkeypatch.context() as patch:
        patch.setattr(Indexing, "_encode_some", lambda *_: False)
        begun = client.post(f"{PATH}/encode", json={"model": "new"})
        assert client.get(PATH).json()["encoding"] == {"model": "new", "done": 0, "total": 10}
        job = begun.json()
        assert (job["kind"], job["status"], job["done"], job["total"]) == ("encode", "running", 0, 10)
        put(client, "owl 10")
        assert client.get(PATH).json()["encoding"]["total"] == 11
        assert search(client).json()["model"] == "hash"
        problem(client.post(f"{PATH}/encode", json={"model": "other"}), 422, "none of this name is served")
        problem(search(client, model="new"), 422, "is of 'hash'; send that, or none")
    answers = []
    eventually(lambda: answers.append(search(client)) or client.get(PATH).json()["encoding"] is None)
    assert {(answer.status_code, len(answer.json()["results"])) for answer in answers} == {(200, 11)}
    job = client.get(f"/v1/jobs/{job['id']}").json()
    assert (job["status"], job["done"], job["total"], job["error"]) == ("done", 11, 11, None)
    assert client.get(f"{PATH}/jobs").json()["data"].count(job) == 1
    described = client.get(PATH).json()
    assert (described["model"], described["documents"], described["passages"]) == ("new", 11, 11)
    for model in (None, "new", "rerank-english-v3.0"):
        answer = search(client, model=model).json()
        assert (answer["model"], len(answer["results"])) == (model or "new", 11)
    problem(search(client, model="hash"), 422, "is of 'new'; send that, or none")
    put(client, "owl 11")
    assert len(search(client).json()["results"]) == 12


def test_an_encoding_can_be_cancelled(client, monkeypatch):
    monkeypatch.setattr(Indexing, "_encode_some", lambda *_: False)
    for _ in range(2):
        job = client.post(f"{PATH}/encode", json={"model": "new"}).json()
        assert client.get(PATH).json()["encoding"]["model"] == "new"
    problem(client.post(f"{PATH}/encode", json={"model": "hash"}), 409, "encoded with another model; cancel that first")
    assert client.get(f"/v1/jobs/{job['id']}").json()["status"] == "running"
    for _ in range(2):
        assert client.delete(f"{PATH}/encode").json()["encoding"] is None
    job = client.get(f"/v1/jobs/{job['id']}").json()
    assert (job["status"], job["error"]) == ("failed", "it was cancelled")
    served = client.post(f"{PATH}/encode", json={"model": "hash"}).json()
    assert (served["status"], served["total"]) == ("done", 0), "it serves already"
    assert search(client).json()["model"] == "hash"
