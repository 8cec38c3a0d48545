"""Damaged records in the shared Redis: responses stay correct, and quotas neither lift nor block."""

import pytest

from app.settings import Settings
from retrieval.states.record import Seal
from tests.app.reports import component
from tests.app.telemetry.test_metrics import values
from tests.conftest import serving
from tests.redis_server import RedisServer, damage_all
from tests.waiting import eventually

BODY = {"query": "which owl sings", "documents": ["market prices", "an owl sings at dusk", "a river", ""]}
DAMAGES = [
    *(
        b"",
        b"garbage",
        bytes(5000),
        b"\xff" * 5000,
        b"nan",
        b"-1",
        b"9" * 30,
        Seal().magic + bytes(300),
        Seal(b"secret").magic + bytes(300),
    ),
    *(("RPUSH", "a", "b"), ("HSET", "a", "1"), ("SADD", "a"), ("ZADD", "1", "a")),
]


@pytest.fixture(scope="module")
def server():
    with RedisServer() as running:
        yield running


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: repr(damage)[:20])
@pytest.mark.parametrize("pepper", [None, "p" * 32], ids=["checksum", "pepper"])
def test_damage_costs_a_reading_and_nothing_else(tmp_path, server, damage, pepper, patient_cache):
    client = server.client()
    client.flushall()
    auth = {"enabled": pepper is not None, "pepper": pepper}
    cache = {"redis_url": server.url, "max_bytes": 0}
    quotas = {"redis_timeout_s": 10}
    with serving(Settings(model="hash", data_dir=tmp_path, cache=cache, auth=auth, quotas=quotas)) as service:
        headers = {}
        if pepper:
            plain = service.app.state.dependencies.auth.keys.create("", "user", "standard")[1]
            headers = {"Authorization": f"Bearer {plain}"}

        def ask():
            answer = service.post("/rerank", json=BODY, headers=headers)
            assert answer.status_code == 200, answer.text
            return answer.json()["results"]

        def misses():
            return values(service).get("replica_cache_misses_total model=hash", 0)

        right = ask()
        eventually(lambda: len(states(client)) == 5)
        damage_all(client, damage)
        damaged = {key: client.dump(key) for key in states(client)}
        assert ask() == right
        assert misses() == 10
        eventually(lambda: all(client.dump(key) != was for key, was in damaged.items()))
        assert ask() == right
        assert misses() == 10, "they were written anew"
        metrics = values(service)
        if isinstance(damage, bytes):  # otherwise Redis reports the wrong type
            assert component(service, "cache_redis")["facts"]["corrupt"] == 5
            assert metrics["replica_cache_corrupt_total model=hash"] == 5
        if pepper:
            assert metrics["quota_counters_reset_total"] == 2
            assert component(service, "quota_redis")["facts"]["counters_reset"] == 2
            assert "not numbers" in component(service, "quota_redis")["last_error"]
        assert {metrics[name] for name in metrics if name.startswith("breaker_open")} == {0}


def states(client):
    return [key for key in client.scan_iter() if key.startswith(b"qrerank:v2:")]
