"""POST /v1/matches of the real application, with the weight-free model."""

import pytest

from app.api.dialects.matches import MatchesResponse
from app.settings import LimitSettings, Settings
from tests.app.problems import problem
from tests.conftest import serving

BODY = {"query": "owl song", "documents": ["prices fell", {"text": "an owl 🦉 song"}, ""]}


@pytest.fixture
def client(shared_client):
    return shared_client


def test_each_document_says_which_tokens_met(client):
    response = client.post("/v1/matches", json=BODY)
    assert response.status_code == 200
    body = response.json()
    MatchesResponse.model_validate(body, strict=True)
    assert body["id"] == response.headers["x-request-id"]
    assert body["query"] == [{"start": 0, "end": 3}, {"start": 4, "end": 8}]
    prices, owl, blank = body["results"]
    text = BODY["documents"][1]["text"]
    assert [text[token["start"] : token["end"]] for token in owl["tokens"]] == ["an", "owl", "song"]
    assert [(token["match"], token["fidelity"]) for token in owl["tokens"][1:]] == [(0, 1.0), (1, 1.0)]
    assert owl["query"] == [{"fidelity": 1.0, "match": 1}, {"fidelity": 1.0, "match": 2}]
    assert all(token["fidelity"] < 1 for token in prices["tokens"])
    assert all(len(str(token["fidelity"])) <= len("0.1234") for token in prices["tokens"] + prices["query"])
    assert (blank["tokens"], blank["query"][0]) == ([], {"fidelity": 0.0, "match": None})


@pytest.mark.parametrize("changes", [{"query": " "}, {"documents": []}, {"documents": [{}]}, {"deadline_ms": -1}])
def test_what_cannot_be_compared_is_refused(client, changes):
    assert client.post("/v1/matches", json=BODY | changes).status_code == 422


def test_limits_hold(tmp_path):
    with serving(Settings(model="hash", data_dir=tmp_path, limits=LimitSettings(documents=3))) as client:
        assert client.post("/v1/matches", json=BODY).status_code == 200
        problem(client.post("/v1/matches", json=BODY | {"documents": ["a"] * 4}), 413, "at most 3")


def test_an_answer_is_bounded(client):
    assert client.post("/v1/matches", json=BODY | {"documents": ["a"] * 128}).status_code == 200
    problem(client.post("/v1/matches", json=BODY | {"documents": ["a"] * 129}), 413, "at most 128")
    problem(client.post("/v1/matches", json=BODY | {"documents": ["a " * 600] * 65}), 413, "130 pieces")
