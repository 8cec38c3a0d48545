"""The similarity routes of the real application, with the weight-free model."""

import math

import pytest

from app.api.dialects.similarity import BatchSimilarityBody, BatchSimilarityResponse, SimilarityBody, SimilarityResponse
from app.settings import LimitSettings, Settings
from tests.conftest import serving

PAIR = {"text1": "owl song", "text2": "an owl sang"}
BATCH = {"queries": ["owl song", "market prices"], "documents": ["prices fell", "an owl song", {"text": "an owl"}]}


@pytest.fixture
def client(shared_client):
    return shared_client


@pytest.mark.parametrize("path", ["/similarity", "/v1/similarity"])
@pytest.mark.parametrize("method", ["classical", "quantum", "hybrid", None])
def test_a_pair_is_compared(client, path, method):
    response = client.post(path, json=PAIR | {"method": method, "deadline_ms": None, "model": None})
    assert response.status_code == 200
    body = response.json()
    SimilarityResponse.model_validate(body, strict=True)
    assert body["id"] == response.headers["x-request-id"]
    assert (body["model"], body["method"]) == ("hash", method or "hybrid")
    assert body["similarity"] == body["scores"][method or "hybrid"]
    assert body["usage"]["total_tokens"] == 5
    assert body["details"]["quantum"]["registers"] == 16


@pytest.mark.parametrize("path", ["/batch-similarity", "/v1/batch-similarity"])
def test_a_batch_is_compared(client, path):
    response = client.post(path, json=BATCH | {"explain": True, "model": "rerank-v3.5"})
    assert response.status_code == 200
    body = response.json()
    BatchSimilarityResponse.model_validate(body, strict=True)
    assert (body["model"], body["method"], body["id"]) == ("rerank-v3.5", "hybrid", response.headers["x-request-id"])
    assert [[match["index"] for match in row["matches"]] for row in body["results"]] == [[1, 2, 0], [0, 1, 2]]


def test_a_batch_has_the_scores_of_pairs_and_reranks(client):
    batch = client.post("/batch-similarity", json=BATCH | {"explain": True}).json()
    texts = ["prices fell", "an owl song", "an owl"]
    for query, row in zip(BATCH["queries"], batch["results"], strict=True):
        ranked = client.post("/rerank", json={"query": query, "documents": texts, "explain": True}).json()["results"]
        explained = {result["index"]: result["scores"] for result in ranked}
        for match in row["matches"]:
            pair = client.post("/similarity", json={"text1": query, "text2": texts[match["index"]]}).json()
            assert match["scores"] == pytest.approx(pair["scores"], abs=1e-6)
            assert match["scores"]["quantum"] == pytest.approx(explained[match["index"]]["quantum"], abs=1e-6)
            assert pair["details"]["classical"]["cosine"] == pytest.approx(
                explained[match["index"]]["classical"], abs=1e-6
            )


def test_hybrid_is_the_probability_that_rerank_gives_a_lone_document(client):
    pair = client.post("/similarity", json=PAIR | {"method": "hybrid"}).json()
    alone = client.post("/rerank", json={"query": PAIR["text1"], "documents": [PAIR["text2"]], "method": "hybrid"})
    assert pair["similarity"] == pytest.approx(alone.json()["results"][0]["relevance_score"])
    assert pair["similarity"] == pytest.approx(1 / (1 + math.exp(-pair["details"]["hybrid"]["log_odds"])))


@pytest.mark.parametrize("method", ["classical", "quantum", "hybrid"])
def test_a_method_has_the_same_scores_alone_and_with_explain(client, method):
    bare = client.post("/batch-similarity", json=BATCH | {"method": method}).json()["results"]
    explained = client.post("/batch-similarity", json=BATCH | {"method": method, "explain": True}).json()["results"]
    for one, other in zip(bare, explained, strict=True):
        assert all("scores" not in match for match in one["matches"])
        assert [match["similarity"] for match in one["matches"]] == pytest.approx(
            [match["scores"][method] for match in other["matches"]], abs=1e-6
        )


def test_an_alias_chooses_the_method(tmp_path):
    with serving(Settings(model="hash", data_dir=tmp_path, aliases={"cosine": "hash:classical"})) as client:
        for path, sent in (("/similarity", PAIR), ("/batch-similarity", BATCH)):
            assert client.post(path, json=sent | {"model": "cosine"}).json()["method"] == "classical"
            assert client.post(path, json=sent | {"model": "cosine", "method": "quantum"}).json()["method"] == "quantum"


def test_an_empty_text_gets_a_valid_score(client):
    assert client.post("/similarity", json=PAIR | {"text2": ""}).json()["similarity"] < 0.7


@pytest.mark.parametrize(("path", "sent"), [("/similarity", PAIR), ("/batch-similarity", BATCH)])
def test_errors_are_problems(client, path, sent):
    late = client.post(path, json=sent | {"deadline_ms": 0.0001})
    assert late.status_code == 504
    assert "a later `deadline_ms`" in late.json()["detail"]
    assert client.post(path, json=sent | {"deadline_ms": 0}).status_code == 200
    assert client.post(path, json=sent | {"deadline_ms": 600_000}).status_code == 200
    bad = client.post(path, json=sent | {"method": "secret"})
    assert bad.status_code == 422
    assert bad.json()["detail"][0]["loc"] == ["body", "method"]
    assert "secret" not in bad.text
    assert client.post(path, content=b"{").status_code == 400
    assert client.post(path, json=["secret"]).json()["message"].endswith("the body must be a JSON object")


@pytest.fixture
def strict(tmp_path):
    limits = LimitSettings(documents=3, queries=2, query_characters=10, body_bytes=1024)
    with serving(Settings(model="hash", data_dir=tmp_path, limits=limits)) as started:
        yield started


@pytest.mark.parametrize(
    ("path", "sent", "message"),
    [
        ("/similarity", {"text1": "q" * 10, "text2": "owl"}, None),
        ("/similarity", {"text1": "q" * 11, "text2": "owl"}, "11 characters and at most 10"),
        ("/similarity", {"text1": "q", "text2": "x" * 1024}, "larger than the 1024 bytes"),
        ("/batch-similarity", {"queries": ["q" * 10] * 2, "documents": ["owl"] * 3}, None),
        ("/batch-similarity", {"queries": ["q"] * 3, "documents": ["owl"]}, "3 queries were sent and at most 2"),
        ("/batch-similarity", {"queries": ["q", "q" * 11], "documents": ["owl"]}, "11 characters and at most 10"),
        ("/batch-similarity", {"queries": ["q"], "documents": ["owl"] * 4}, "4 documents were sent and at most 3"),
    ],
)
def test_limits_hold_at_n_and_n_plus_one(strict, path, sent, message):
    response = strict.post(path, json=sent)
    if message is None:
        assert response.status_code == 200
    else:
        assert response.status_code == 413
        assert message in response.json()["detail"]


def test_keys_are_required(tmp_path):
    auth = {"enabled": True, "keys": ["k" * 16]}
    with serving(Settings(model="hash", data_dir=tmp_path, auth=auth)) as client:
        for path, sent in (("/v1/similarity", PAIR), ("/v1/batch-similarity", BATCH)):
            assert client.post(path, json=sent).status_code == 401
            assert client.post(path, json=sent, headers={"x-api-key": "k" * 16}).status_code == 200


@pytest.mark.parametrize(
    ("name", "body", "response"),
    [
        ("similarity", SimilarityBody, SimilarityResponse),
        ("batch-similarity", BatchSimilarityBody, BatchSimilarityResponse),
    ],
)
def test_openapi_describes_the_routes_and_its_examples_work(client, name, body, response):
    schema = client.get("/openapi.json").json()
    assert {body.__name__, response.__name__} <= set(schema["components"]["schemas"])
    for path in (f"/{name}", f"/v1/{name}"):
        post = schema["paths"][path]["post"]
        assert set(post["responses"]) == {"200", "400", "401", "403", "408", "413", "422", "429", "503", "504"}
        sent = post["requestBody"]["content"]["application/json"]
        assert sent["schema"]["$ref"].endswith(f"/{body.__name__}")
        for example in sent["examples"].values():
            assert client.post(path, json=example["value"]).status_code == 200
