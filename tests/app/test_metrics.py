import re

from app.metrics import Metrics
from app.settings import Settings
from tests.conftest import serving
from tests.redis_server import RedisServer

BODY = {"query": "owl song", "documents": ["market prices", "an owl song"]}


def value(text: str, name: str) -> float:
    return float(re.search(rf'^qrerank_{name}(?:{{model="hash"}})? (\S+)$', text, re.MULTILINE)[1])


def test_hits_and_misses_are_counted(client):
    for _ in range(3):
        assert client.post("/rerank", json=BODY).status_code == 200
    text = client.get("/metrics").text
    # two texts of the probe's and its query, at the start; then two documents and a query
    assert value(text, "cache_misses_total") == 6
    assert value(text, "cache_hits_total") == 6
    assert value(text, "cache_entries") == 6
    assert value(text, "cache_bytes") > 6 * 64
    assert value(text, "encoded_texts_total") == 6
    assert value(text, "requests_admitted") == 0
    assert "replica" not in text


def test_the_loops_lag_is_a_histogram(client):
    client.get("/health")
    text = client.get("/metrics").text
    assert 'qrerank_event_loop_lag_seconds_bucket{le="0.01"}' in text
    assert value(text, "event_loop_lag_seconds_sum") >= 0


def test_before_the_engine_can_tell_there_is_the_loop_only():
    assert b"qrerank_cache" not in Metrics(lambda: None).render()


def test_replicas_share_over_http(tmp_path):
    with RedisServer() as redis:
        settings = Settings(model="hash", data_dir=tmp_path, cache={"redis_url": redis.url})
        with serving(settings) as first:
            answer = first.post("/rerank", json=BODY).json()
        with serving(settings) as second:
            assert second.post("/rerank", json=BODY).json()["results"] == answer["results"]
            text = second.get("/metrics").text
            assert value(text, "replica_cache_hits_total") == 6
            assert value(text, "encoded_texts_total") == 0
            redis.kill()
            other = BODY | {"query": "another owl"}
            assert second.post("/rerank", json=other).status_code == 200
            assert value(second.get("/metrics").text, "replica_cache_available") == 0
    assert redis.url not in repr(settings)
