"""The routes that clients of other servers call before they rerank."""

import pytest

from app.auth.settings import AuthSettings
from app.settings import Settings
from tests.app.problems import problem
from tests.conftest import serving

KEY = "a-key-of-16-chars"


@pytest.fixture
def keyed(tmp_path):
    settings = Settings(model="hash", data_dir=tmp_path, auth=AuthSettings(enabled=True, keys=(KEY,)))
    with serving(settings) as started:
        yield started


def test_info_has_the_format_of_tei(client):
    info = client.get("/info").json()
    assert info["model_id"] == "hash"
    assert list(info["model_type"]) == ["reranker"]
    assert (info["max_input_length"], info["max_client_batch_size"]) == (512 * 16, 1000)


def test_models_are_listed_and_any_name_selects_one(tmp_path):
    settings = Settings(model="hash", data_dir=tmp_path, aliases={"rerank-v3.5": "hash:quantum"})
    with serving(settings) as client:
        cards = client.get("/v1/models").json()["data"]
        assert [card["id"] for card in cards] == ["hash", "rerank-v3.5"]
        assert all(card["model_type"] == "rerank" for card in cards)
        assert client.get("/v1/models/rerank-v3.5").json() == cards[1]
        assert client.get("/v1/models/").json()["data"] == client.get("/v1//models//").json()["data"] == cards
        assert client.get("/v1/models/some/odd name").json()["id"] == "some/odd name"
        body = {"query": "owl", "documents": ["an owl"], "model": "rerank-v3.5"}
        assert client.post("/rerank", json=body).json()["meta"]["method"] == "quantum"
        assert client.post("/rerank", json=body | {"method": "classical"}).json()["meta"]["method"] == "classical"


@pytest.mark.parametrize("path", ["/info", "/v1/cluster/auth", "/health", "/health/ready", "/docs", "/openapi.json"])
def test_open_routes_need_no_key(keyed, client, path):
    assert keyed.get(path).status_code == client.get(path).status_code == 200


def test_xinference_learns_whether_keys_are_needed(keyed, client):
    assert keyed.get("/v1/cluster/auth").json() == {"auth": True}
    assert client.get("/v1/cluster/auth").json() == {"auth": False}


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/x"])
def test_the_models_need_a_key(keyed, path):
    problem(keyed.get(path), 401, "needs a key")
    assert keyed.get(path, headers={"X-API-Key": KEY}).status_code == 200


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank", "/infinity/rerank", "/v1/reranking"])
def test_reranking_needs_a_known_key(keyed, path):
    body = {"query": "owl", "documents": ["an owl"]}
    refused = keyed.post(path, json=body)
    problem(refused, 401, "needs a key")
    assert refused.headers["www-authenticate"] == "Bearer"
    problem(keyed.post(path, json=body, headers={"Authorization": "Bearer a-secret-that-is-wrong"}), 401, "not known")
    for headers in ({"Authorization": f"Bearer {KEY}"}, {"Authorization": KEY}, {"Api-Key": KEY}):
        assert keyed.post(path, json=body, headers=headers).status_code == 200
    assert keyed.post(path, json=body, auth=("user", KEY)).status_code == 200


def test_before_a_model_is_loaded_the_routes_answer_503(tmp_path):
    with serving(Settings(model=str(tmp_path), model_dir=tmp_path, data_dir=tmp_path)) as client:
        problem(client.get("/info"), 503, "not ready")
        problem(client.get("/v1/models"), 503, "not ready")
