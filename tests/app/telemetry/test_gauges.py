import os
from dataclasses import replace

from app.auth.settings import AuthSettings
from app.engine.engine import EngineCounts
from app.service.collection_check import CollectionCounts
from app.settings import Settings
from retrieval.errors import Fault
from tests.app.service.test_collections import make
from tests.app.telemetry.test_metrics import BODY, values
from tests.conftest import serving
from tests.indexers import indexed_elsewhere
from tests.redis_server import RedisServer
from tests.waiting import eventually


def test_what_the_engine_counts_is_published(client):
    for _ in range(3):
        assert client.post("/rerank", json=BODY).status_code == 200
    found = values(client)
    # two documents and a query; the startup probe does not count
    assert found["cache_misses_total"] == 3
    assert found["cache_hits_total"] == 6
    assert found["cache_entries"] == 3
    assert found["cache_bytes"] > 3 * 64
    assert found["encoded_texts_total model=hash"] == 3
    assert found["encoder_passes_total model=hash texts=1"] == 3
    assert found["requests_running"] == found["requests_waiting"] == 0
    assert found["workers"] == found["ready"] == 1
    assert found["memory_limit_bytes"] > found["process_memory_bytes"] > 10**7
    assert not [name for name in found if name.startswith(("replica_cache", "breaker_open"))]


def test_replicas_share_over_http(tmp_path, patient_cache):
    with RedisServer() as redis:
        settings = Settings(model="hash", data_dir=tmp_path, cache={"redis_url": redis.url})
        with serving(settings) as first:
            answer = first.post("/rerank", json=BODY).json()
        with serving(settings) as second:
            assert second.post("/rerank", json=BODY).json()["results"] == answer["results"]
            found = values(second)
            assert found["replica_cache_hits_total model=hash"] == 3
            assert found["encoded_texts_total model=hash"] == 0
            assert found["breaker_open dependency=cache_redis"] == found["breaker_open dependency=quota_redis"] == 0
            redis.kill()
            other = BODY | {"query": "another owl"}
            assert second.post("/rerank", json=other).status_code == 200
            assert values(second)["breaker_open dependency=cache_redis"] == 1
    assert redis.url not in repr(settings)


def test_collections_are_told_of_from_when_they_are_asked_for_until_they_are_gone(tmp_path):
    settings, body = Settings(model="hash", data_dir=tmp_path), {"query": "owl", "collection": "birds"}
    folder = settings.collections_dir / "birds"
    make(folder, 20)
    with serving(settings) as client, indexed_elsewhere(folder):  # who does not mend it
        assert "index_passages collection=birds" not in values(client)
        assert client.post("/rerank", json=body).status_code == 200
        found = values(client)
        assert found["index_passages collection=birds"] == 20
        assert found["index_bytes collection=birds"] > 1000
        assert found["index_certified collection=birds"] == 1
        os.truncate(folder / "segments" / "1" / "tokens.bin", 0)
        assert client.post("/rerank", json=body).status_code == 503
        assert values(client)["index_certified collection=birds"] == 0
        folder.rename(tmp_path / "elsewhere")
        assert client.post("/rerank", json=body).status_code == 404
        found = values(client)
        assert (found["index_passages collection=birds"], found["index_certified collection=birds"]) == (0, 1)


def test_collections_that_come_and_go_make_a_bounded_number_of_series(client, monkeypatch):
    monkeypatch.setattr("app.telemetry.gauges._MOST_COLLECTIONS", 3)
    gauges = client.app.state.dependencies.gauges

    def publish(*names: str, fault: Fault | None = None) -> dict[str, float]:
        opened = {name: CollectionCounts(7, 100, fault, None) for name in names}
        monkeypatch.setattr(gauges, "_sources", replace(gauges._sources, collections=lambda: opened))
        return {name: value for name, value in values(client).items() if name.startswith("index_passages")}

    for number in range(9):
        found = publish(f"of session {number}", "one that stays")
    labels = ["of session 0", "of session 1", "one that stays", "other"]
    assert found == {f"index_passages collection={label}": 7.0 * (label in labels[2:]) for label in labels}
    publish("of session 0", "of session 8", fault=Fault.now("damaged"))
    found = values(client)
    assert [found[f"index_certified collection={label}"] for label in labels] == [0, 1, 1, 0]


def test_a_lost_database_of_keys_is_an_open_breaker(tmp_path):
    settings = Settings(model="hash", data_dir=tmp_path, auth=AuthSettings(enabled=True))
    with serving(settings) as client:
        name = "breaker_open dependency=keys"
        client.app.state.dependencies.auth.keys.all()  # opens the database
        assert values(client)[name] == 0
        (tmp_path / "auth.sqlite3").rename(tmp_path / "elsewhere")
        client.app.state.dependencies.auth.database.check()
        assert values(client)[name] == 1
        assert "breaker_open dependency=issuer" not in values(client)


def test_what_cannot_be_told_now_is_told_a_second_later_and_keeps_nothing_else(client, monkeypatch, caplog):
    on, asked = client.app.state.dependencies, []
    metrics, counts = on.metrics, on.engine.counts

    def fail() -> EngineCounts | None:
        asked.append(1)
        if len(asked) < 4:
            raise OSError("lost")
        return counts()

    monkeypatch.setattr(on.engine, "counts", fail)
    metrics.cache_entries.set(-1)
    metrics.usage_waiting_rows.set(-1)
    eventually(lambda: metrics.usage_waiting_rows._value.get() == 0)
    assert len(asked) < 4, "it was told although the engine had not been"
    eventually(lambda: metrics.cache_entries._value.get() == 0)
    assert [line for line in caplog.messages if "publishing" in line] == ["publishing the metrics of the engine failed"]
