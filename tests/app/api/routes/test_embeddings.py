"""The embeddings route of the real application, with the weight-free model."""

from base64 import b64decode

import numpy as np
import pytest

from app.api.dialects.openai_embeddings import EmbeddingsResponse
from app.settings import LimitSettings, Settings
from retrieval.encoder.hash_encoder import HashEncoder
from tests.conftest import serving

TEXTS = ["an owl song", "", "market prices"]


@pytest.fixture
def client(shared_client):
    return shared_client


@pytest.mark.parametrize("path", ["/embeddings", "/v1/embeddings", "/v1/embeddings/"])
def test_texts_are_embedded_as_openai_does(client, path):
    response = client.post(path, json={"input": TEXTS, "model": "text-embedding-3-small", "user": "me"})
    assert response.status_code == 200
    body = response.json()
    EmbeddingsResponse.model_validate(body, strict=True)
    assert (body["object"], body["model"]) == ("list", "text-embedding-3-small")
    assert [row["index"] for row in body["data"]] == [0, 1, 2]
    assert [row["embedding"] for row in body["data"]] == pytest.approx(HashEncoder().encode(TEXTS).pooled, abs=1e-7)
    assert body["usage"] == {"prompt_tokens": 6, "total_tokens": 6}


def test_base64_is_the_format_of_the_openai_client(client):
    sent = {"input": "an owl song", "dimensions": 64, "input_type": "query"}
    text = client.post("/v1/embeddings", json=sent | {"encoding_format": "base64"}).json()["data"][0]["embedding"]
    floats = client.post("/v1/embeddings", json=sent).json()["data"][0]["embedding"]
    assert np.frombuffer(b64decode(text), dtype="float32").tolist() == np.array(floats, dtype="float32").tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dimensions": 63}, "hash gives vectors of 64"),
        ({"input": [1, 2]}, "check_embedding_ctx_length=False"),
        ({"encoding_format": "int8"}, "'float' or 'base64'"),
    ],
)
def test_unsupported_options_are_refused(client, change, message):
    response = client.post("/v1/embeddings", json={"input": "owl"} | change)
    assert response.status_code == 422
    assert message in response.json()["detail"][0]["msg"]
    assert response.json()["detail"][0]["loc"] == ["body", next(iter(change))]


def test_the_limit_holds_at_n_and_n_plus_one(tmp_path):
    with serving(Settings(model="hash", data_dir=tmp_path, limits=LimitSettings(documents=3))) as client:
        assert client.post("/v1/embeddings", json={"input": TEXTS}).status_code == 200
        response = client.post("/v1/embeddings", json={"input": [*TEXTS, "owl"]})
        assert response.status_code == 413
        assert "4 texts were sent and at most 3" in response.json()["message"]


def test_keys_are_required(tmp_path):
    auth = {"enabled": True, "keys": ["k" * 16]}
    with serving(Settings(model="hash", data_dir=tmp_path, auth=auth)) as client:
        assert client.post("/v1/embeddings", json={"input": "owl"}).status_code == 401
        headers = {"authorization": "Bearer " + "k" * 16}
        assert client.post("/v1/embeddings", json={"input": "owl"}, headers=headers).status_code == 200


def test_openapi_describes_the_route_and_its_examples_work(client):
    schema = client.get("/openapi.json").json()
    assert {"EmbeddingsBody", "EmbeddingsResponse"} <= set(schema["components"]["schemas"])
    for path in ("/embeddings", "/v1/embeddings"):
        post = schema["paths"][path]["post"]
        assert set(post["responses"]) == {"200", "400", "401", "403", "408", "413", "422", "429", "503", "504"}
        for example in post["requestBody"]["content"]["application/json"]["examples"].values():
            assert client.post(path, json=example["value"]).status_code == 200
