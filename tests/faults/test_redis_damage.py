"""Damaged records in the shared Redis: responses stay correct, and quotas neither lift nor block."""

import pytest

from app.settings import Settings
from retrieval.states.record import Seal
from tests.app.reports import component
from tests.app.telemetry.test_metrics import values
from tests.conftest import serving, wait_for_redis
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


@pytest.fixture(scope="module", params=[None, "p" * 32], ids=["checksum", "pepper"])
def service(request, server, tmp_path_factory):
    auth = {"enabled": request.param is not None, "pepper": request.param}
    cache = {"redis_url": server.url, "max_bytes": 0}
    quotas = {"redis_timeout_s": 10}
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        wait_for_redis(patch)
        with serving(Settings(model="hash", data_dir=folder, cache=cache, auth=auth, quotas=quotas)) as service:
            if auth["enabled"]:
                plain = service.app.state.dependencies.auth.keys.create("", "user", "standard")[1]
                service.headers["Authorization"] = f"Bearer {plain}"
            yield service


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: repr(damage)[:20])
def test_damage_costs_a_reading_and_nothing_else(server, service, damage):
    client = server.client()
    client.flushall()

    def ask():
        answer = service.post("/rerank", json=BODY)
        assert answer.status_code == 200, answer.text
        return answer.json()["results"]

    def added(name):
        return values(service).get(name, 0) - before.get(name, 0)

    before = values(service)
    right = ask()
    eventually(lambda: len(states(client)) == 5)
    damage_all(client, damage)
    damaged = {key: client.dump(key) for key in states(client)}
    assert ask() == right
    assert added("replica_cache_misses_total model=hash") == 10
    eventually(lambda: all(client.dump(key) != was for key, was in damaged.items()))
    assert ask() == right
    assert added("replica_cache_misses_total model=hash") == 10, "they were written anew"
    corrupt = 5 if isinstance(damage, bytes) else 0  # otherwise Redis reports the wrong type
    assert added("replica_cache_corrupt_total model=hash") == corrupt
    after = values(service)
    assert component(service, "cache_redis")["facts"]["corrupt"] == after["replica_cache_corrupt_total model=hash"]
    if "Authorization" in service.headers:
        assert added("quota_counters_reset_total") == 2
        quota = component(service, "quota_redis")
        assert quota["facts"]["counters_reset"] == after["quota_counters_reset_total"]
        assert "not numbers" in quota["last_error"]
    assert {after[name] for name in after if name.startswith("breaker_open")} == {0}


def states(client):
    return [key for key in client.scan_iter() if key.startswith(b"qrerank:v2:")]
