"""The service with a remote model whose server fails: what is cached is used, and it recovers by itself."""

from contextlib import contextmanager

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.encoder.remote import connect
from tests.app.problems import problem
from tests.conftest import serving
from tests.embeddings_peer import edit, serving_peer, status
from tests.waiting import eventually

CACHED = ["an owl hunts mice", "the nightingale sings after dusk"]
NEW = ["night birds of the woods", "stock prices fell"]
QUERY = "which bird sings at night"


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    with serving_peer(tmp_path_factory.mktemp("peer"), {"hash": HashEncoder()}) as proxy:
        yield proxy


@pytest.fixture
def proxy(peer, monkeypatch):
    monkeypatch.setattr("retrieval.encoder.embeddings_client._BACKOFF", lambda _: 0.0)
    monkeypatch.setitem(connect.__kwdefaults__, "retry_s", 0.01)
    monkeypatch.setattr("app.engine.engine._AGAIN_S", 0.01)
    monkeypatch.setattr("app.service.indexing._EVERY_S", 0.01)
    peer.reset()
    yield peer
    peer.reset()


def settings(proxy, folder) -> Settings:
    return Settings(model="hash", data_dir=folder, encoder={"remote": {"url": proxy.url}})


@contextmanager
def with_remote(proxy, folder):
    with serving(settings(proxy, folder)) as client:
        yield client


def rank(client, documents, query=QUERY, **more):
    return client.post("/rerank", json={"query": query, "documents": documents, **more})


def test_a_remote_model_ranks_and_says_what_it_is(proxy, tmp_path):
    with with_remote(proxy, tmp_path) as client:
        body = rank(client, CACHED, method="classical", explain=True).json()
        expected = HashEncoder().encode([QUERY, *CACHED]).pooled
        found = {row["index"]: row["scores"]["classical"] for row in body["results"]}
        np.testing.assert_allclose([found[0], found[1]], expected[1:] @ expected[0], atol=1e-6)
        assert (body["meta"]["granularity"], body["meta"]["degraded"]) == ("document", [])
        assert client.get("/info").json()["granularity"] == "document"
        assert client.get("/v1/models/hash").json()["granularity"] == "document"
        refused = rank(client, CACHED, relevant_spans=True)
        problem(refused, 422, "one vector for a whole text")
        proxy.always = edit(lambda data: [entry | {"embedding": [0.0] * 64} for entry in data])
        problem(rank(client, NEW), 422, "zero or non-finite")


def test_without_the_server_what_is_cached_is_scored_and_all_recovers_by_itself(proxy, tmp_path):
    with with_remote(proxy, tmp_path) as client:
        assert rank(client, CACHED).json()["meta"]["encoded"] == 2
        proxy.always = status(503)
        meta = rank(client, [*CACHED, *NEW]).json()["meta"]
        assert (meta["encoded"], meta["degraded"]) == (2, ["encoder"])
        assert rank(client, CACHED).json()["meta"]["degraded"] == []
        assert rank(client, CACHED, query="owls").json()["meta"]["degraded"] == ["encoder"]
        for path, body in {
            "/v1/embeddings": {"input": NEW},
            "/similarity": {"text1": NEW[0], "text2": NEW[1]},
        }.items():
            response = client.post(path, json=body)
            problem(response, 503, "server of the model 'hash'")
            assert int(response.headers["Retry-After"]) >= 1
            assert str(proxy.server.server_port) not in response.text, "where the server is does not concern clients"

        def health():
            return client.get("/health/detailed").json()["components"]["encoder"]

        def is_open():
            rank(client, NEW)
            return health()["status"] == "degraded"

        eventually(is_open)
        assert "answered 503" in health()["last_error"]
        eventually(lambda: 'breaker_open{dependency="encoder"} 1.0' in client.get("/metrics").text)
        assert client.get("/health/ready").status_code == 200, "it still serves what it knows"
        proxy.always = None
        eventually(lambda: health()["status"] == "ok")
        assert rank(client, [*CACHED, *NEW]).json()["meta"]["degraded"] == []
        eventually(lambda: 'breaker_open{dependency="encoder"} 0.0' in client.get("/metrics").text)


def test_documents_of_a_collection_wait_for_the_server_and_another_model_is_refused(proxy, tmp_path):
    with with_remote(proxy, tmp_path) as client:
        assert client.put("/v1/collections/birds", json={}).status_code == 201
        proxy.always = status(501)
        documents = [{"id": str(number), "text": text} for number, text in enumerate(CACHED)]
        assert (
            client.post("/v1/collections/birds/documents", json={"documents": documents, "wait": "stored"}).status_code
            == 200
        )
        eventually(lambda: client.get("/health/detailed").json()["components"]["encoder"]["facts"]["errors"] > 5)
        assert client.get("/v1/collections/birds").json()["waiting"] == 2
        search = {"query": QUERY, "collection": "birds"}
        problem(client.post("/rerank", json=search), 503, "server of the model")
        proxy.always = None
        eventually(lambda: client.get("/v1/collections/birds").json()["waiting"] == 0)
        assert client.post("/rerank", json=search).json()["results"][0]["document"]["id"] == "1"
        proxy.always = status(501)
        assert client.post("/rerank", json=search).status_code == 200, "its query is cached"
    proxy.always = edit(lambda data: [entry | {"embedding": [1.0] * 64} for entry in data])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("app.engine.engine.check_order", lambda *_: None)  # which such vectors do not pass
        with with_remote(proxy, tmp_path) as client:
            response = client.post("/rerank", json=search)
            problem(response, 409, "was made with another version of the model 'hash'")


def test_a_service_that_starts_before_the_server_waits_for_it(proxy, tmp_path):
    proxy.always = status(503)
    with TestClient(create_app(settings(proxy, tmp_path))) as client:
        eventually(lambda: "answered 503" in client.get("/health/ready").text)
        assert client.get("/health").status_code == 200
        proxy.always = None
        eventually(lambda: client.get("/health/ready").status_code == 200)
        assert rank(client, CACHED).json()["meta"]["degraded"] == []


def test_a_model_that_the_server_does_not_have_ends_the_start(proxy, tmp_path):
    proxy.always = status(404)
    with serving(settings(proxy, tmp_path)) as client:
        problem(client.get("/health/ready"), 503, "check the URL, the API key and the model's name")
