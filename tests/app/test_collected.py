from app.settings import Settings
from tests.app.test_metrics import BODY, values
from tests.conftest import serving
from tests.redis_server import RedisServer


def test_what_the_engine_counts_is_published(client):
    for _ in range(3):
        assert client.post("/rerank", json=BODY).status_code == 200
    found = values(client)
    # two texts of the probe's and its query, at the start; then two documents and a query
    assert found["cache_misses_total"] == 6
    assert found["cache_hits_total"] == 6
    assert found["cache_entries"] == 6
    assert found["cache_bytes"] > 6 * 64
    assert found["encoded_texts_total model=hash"] == 6
    assert found["encoder_passes_total model=hash texts=1"] == 6
    assert found["requests_running"] == found["requests_waiting"] == 0
    assert found["workers"] == found["ready"] == 1
    assert found["process_memory_bytes"] > 10**7
    assert not [name for name in found if name.startswith(("replica_cache", "breaker_open"))]


def test_replicas_share_over_http(tmp_path):
    with RedisServer() as redis:
        settings = Settings(model="hash", data_dir=tmp_path, cache={"redis_url": redis.url})
        with serving(settings) as first:
            answer = first.post("/rerank", json=BODY).json()
        with serving(settings) as second:
            assert second.post("/rerank", json=BODY).json()["results"] == answer["results"]
            found = values(second)
            assert found["replica_cache_hits_total model=hash"] == 6
            assert found["encoded_texts_total model=hash"] == 0
            assert found["breaker_open dependency=cache_redis"] == found["breaker_open dependency=quota_redis"] == 0
            redis.kill()
            other = BODY | {"query": "another owl"}
            assert second.post("/rerank", json=other).status_code == 200
            assert values(second)["breaker_open dependency=cache_redis"] == 1
    assert redis.url not in repr(settings)
