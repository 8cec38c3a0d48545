"""Quotas on every route, and their response headers."""

import time
from contextlib import contextmanager

import pytest

from app.auth.settings import AuthSettings
from app.auth.stores import open_records
from app.quotas.settings import QuotaSettings
from app.quotas.windows import LocalCounters
from app.settings import Settings
from tests.app.problems import problem
from tests.conftest import serving

DOCUMENTS = [f"an owl {number}" for number in range(10)]
BODY = {"query": "owl", "documents": DOCUMENTS}
EACH = [  # path, body, and cost in similarities
    ("/rerank", BODY | {"method": "classical"}, 10),
    ("/rerank", BODY | {"method": "quantum"}, 20),
    ("/v1/rerank", BODY, 20),
    ("/v2/rerank", BODY | {"model": "cheap"}, 10),
    ("/rerank", {"query": "owl", "texts": ["an owl"]}, 2),
    ("/v1/rerank/stream", BODY, 20),
    ("/v1/similarity", {"text1": "owl", "text2": "an owl", "method": "classical"}, 2),
    ("/v1/batch-similarity", {"queries": ["owl", "song"], "documents": DOCUMENTS, "method": "classical"}, 20),
    ("/v1/batch-similarity", {"queries": ["owl", "song"], "documents": DOCUMENTS, "method": "quantum"}, 40),
    ("/v1/batch-similarity", {"queries": "owl", "documents": DOCUMENTS, "method": "classical", "explain": True}, 20),
    ("/v1/embeddings", {"input": DOCUMENTS}, 10),
]


@contextmanager
def client_of_tier(tmp_path, tier="public", **quotas):
    """A client whose key has a tier."""
    auth = AuthSettings(enabled=True)
    settings = Settings(
        model="hash",
        data_dir=tmp_path,
        auth=auth,
        quotas=QuotaSettings(**quotas),
        aliases={"cheap": "hash:classical"},
        limits={"socket_requests": 1},
    )
    stores = open_records(auth, tmp_path)
    key, plain = stores.keys.create("ada", "user", tier, None)
    stores.database.close()
    with serving(settings) as client:
        client.headers["Authorization"] = f"Bearer {plain}"
        client.key_id = key.id
        yield client


def quota_headers(response):
    """Limit, remaining, resource."""
    headers = response.headers
    return int(headers["x-ratelimit-limit"]), int(headers["x-ratelimit-remaining"]), headers["x-ratelimit-resource"]


def similarities_left(client):
    """The remaining similarities, without using any."""
    limit = client.app.state.dependencies.quotas._tiers["public"].similarities
    return client.app.state.dependencies.quotas._local._limiter.get_window_stats(
        limit, f"key:{client.key_id}"
    ).remaining


def test_the_61st_request_of_a_minute_is_refused_with_retry_after(tmp_path):
    with client_of_tier(tmp_path) as client:
        body = BODY | {"documents": DOCUMENTS[:1], "method": "classical"}
        for used in range(60):
            response = client.post("/rerank", json=body)
            assert response.status_code == 200
            assert quota_headers(response) == (60, 59 - used, "requests")
        reset = int(response.headers["x-ratelimit-reset"])
        for path, sent in (("/rerank", body), ("/v1/embeddings", {"input": "owl"}), ("/v1/similarity", None)):
            response = client.post(path, json=sent)
            problem(response, 429, "this caller's 60 requests per minute are used up; there are 60 again in ")
            assert quota_headers(response) == (60, 0, "requests")
            assert 0 < int(response.headers["retry-after"]) == response.json()["retry_after_s"] <= 60
            assert int(response.headers["x-ratelimit-reset"]) == pytest.approx(reset, abs=1)
            assert int(response.headers["x-ratelimit-reset"]) == pytest.approx(time.time() + 60, abs=60)
        metrics = client.get("/metrics").text
        assert 'qrerank_quota_refusals_total{quota="requests"} 3.0' in metrics


def test_every_route_costs_one_request_and_its_similarities(tmp_path):
    with client_of_tier(tmp_path, public={"requests_per_minute": 100}) as client:
        requests, similarities = 100, 1000
        for path, body, cost in EACH:
            response = client.post(path, json=body)
            assert response.status_code == 200, response.text
            requests, similarities = requests - 1, similarities - cost
            assert similarities_left(client) == similarities, (path, body)
            assert quota_headers(response) in {(100, requests, "requests"), (1000, similarities, "similarities")}


def test_a_refused_request_costs_no_similarities(tmp_path):
    with client_of_tier(tmp_path, public={"similarities_per_hour": 50}) as client:
        assert [client.post("/rerank", json=BODY).status_code for _ in range(3)] == [200, 200, 429]
        response = client.post("/v1/rerank/stream", json=BODY)
        expected = "10 of this caller's 50 similarities per hour are left, too few for this request; there are 50 again"
        problem(response, 429, expected)
        assert quota_headers(response) == (50, 10, "similarities")
        assert 3500 < int(response.headers["retry-after"]) <= 3600
        response = client.post("/rerank", json=BODY | {"method": "classical"})
        assert response.status_code == 200
        assert quota_headers(response) == (50, 0, "similarities")
        response = client.post("/rerank", content=b"{")
        problem(response, 400, "JSON")
        assert quota_headers(response) == (60, 56, "requests")


def test_too_many_documents_for_the_tier_are_refused_with_both_numbers(tmp_path):
    documents = [*DOCUMENTS, "one more"]
    each = [
        ("/rerank", {"query": "owl", "documents": documents}),
        ("/rerank", {"query": "owl", "texts": documents}),
        ("/v1/rerank/stream", {"query": "owl", "documents": documents}),
        ("/v1/batch-similarity", {"queries": ["owl"], "documents": documents}),
        ("/v1/embeddings", {"input": documents}),
    ]
    with client_of_tier(tmp_path) as client:
        for number, (path, body) in enumerate(each, start=1):
            response = client.post(path, json=body)
            problem(response, 413, "11 documents were sent and at most 10 are taken of the tier public")
            assert quota_headers(response) == (60, 60 - number, "requests")
        assert similarities_left(client) == 1000


def test_a_request_larger_than_the_quota_is_413(tmp_path):
    with client_of_tier(tmp_path) as client:
        response = client.post("/v1/batch-similarity", json={"queries": ["owl"] * 51, "documents": DOCUMENTS})
        problem(response, 413, "the request takes 1020 similarities and the tier public has 1000 an hour")


def test_invalid_requests_count(tmp_path):
    with client_of_tier(tmp_path, public={"requests_per_minute": 4}) as client:
        for body, status in (
            (b"{", 400),
            (b"[]", 422),
            (b'{"query": ""}', 422),
            (b'{"query": "owl"}', 422),
            (b"{", 429),
        ):
            assert client.post("/rerank", content=body).status_code == status


def test_a_search_costs_what_it_reranks(tmp_path):
    with client_of_tier(tmp_path, public={"documents": 1}) as client:
        response = client.post("/rerank", json={"query": "owl", "collection": "nowhere"})
        problem(response, 404, "collection")
        assert quota_headers(response) == (1000, 800, "similarities")


def test_websocket_requests_count_and_pings_do_not(tmp_path):
    small = {"type": "rerank", "query": "owl", "documents": DOCUMENTS}
    with client_of_tier(tmp_path, public={"requests_per_minute": 3, "similarities_per_hour": 50}) as client:
        with client.websocket_connect("/v1/ws") as socket:

            def ask(frame):
                socket.send_json(frame)
                while (answer := socket.receive_json())["type"] == "order":
                    pass
                return answer

            assert ask(small | {"id": 1})["type"] == "final"
            refused = ask(small | {"id": 2, "documents": [*DOCUMENTS, "one more"]})
            assert (refused["type"], refused["id"], refused["status"]) == ("error", 2, 413)
            assert "at most 10 are taken of the tier public" in refused["message"]
            assert similarities_left(client) == 30
            socket.send_text("{")
            assert socket.receive_json()["status"] == 400
            refused = ask(small | {"id": 3})
            assert (refused["type"], refused["id"], refused["status"]) == ("error", 3, 429)
            assert "this caller's 3 requests per minute are used up" in refused["message"]
            assert 50 < refused["retry_after_s"] <= 60
            assert ask({"type": "ping"})["type"] == "pong"
            assert ask({"type": "cancel", "id": 9})["type"] == "cancelled"
            assert similarities_left(client) == 30
        assert client.post("/rerank", json=BODY).status_code == 429


def test_frames_that_are_none_count(tmp_path):
    with (
        client_of_tier(tmp_path, public={"requests_per_minute": 4}) as client,
        client.websocket_connect("/v1/ws") as socket,
    ):
        for frame, status in (
            ({"type": "rerank", **BODY}, 422),
            ({"type": "other"}, 422),
            ({"type": ["rerank"]}, 422),
            ([], 422),
            ({"type": "rerank"}, 429),
        ):
            socket.send_json(frame)
            assert socket.receive_json()["status"] == status


def test_too_many_documents_for_a_collection_count(tmp_path):
    documents = [{"id": text, "text": text} for text in [*DOCUMENTS, "one more"]]
    with client_of_tier(tmp_path) as client:
        client.put("/v1/collections/owls")
        response = client.post("/v1/collections/owls/documents", json={"documents": documents})
        problem(response, 413, "at most 10 are taken of the tier public")
        assert quota_headers(response) == (60, 58, "requests")


def test_the_tier_unlimited_is_not_counted_and_has_no_headers(tmp_path, monkeypatch):
    monkeypatch.setattr(LocalCounters, "take", None)
    with client_of_tier(tmp_path, "unlimited") as client:
        response = client.post("/rerank", json=BODY)
        assert response.status_code == 200
        assert not [name for name in response.headers if "ratelimit" in name]


def test_an_unknown_tier_is_refused(tmp_path):
    with client_of_tier(tmp_path, "gold") as client:
        problem(client.post("/rerank", json=BODY), 403, "the tier of this key is not known here")


def test_reading_about_models_is_not_counted(tmp_path):
    with client_of_tier(tmp_path, public={"requests_per_minute": 1}) as client:
        assert [client.get("/v1/models").status_code for _ in range(3)] == [200] * 3
        assert client.post("/rerank", json=BODY).status_code == 200
