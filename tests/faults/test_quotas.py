"""Quotas of two server processes that share one Redis, which dies and comes back."""

import time
from collections import Counter

import pytest

from tests.faults.replicas import replicas
from tests.redis_server import RedisServer
from tests.waiting import eventually

SMALL = {"query": "owl", "documents": ["an owl"], "method": "classical"}
TEN = {"queries": ["owl"], "documents": [f"an owl {number}" for number in range(10)], "method": "quantum"}
BREAKER = 'breaker_open{dependency="quota_redis"}'


@pytest.fixture(scope="module")
def redis():
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def servers(redis, tmp_path_factory):
    quotas = {
        "quotas__public": '{"requests_per_minute": 150, "similarities_per_hour": 1000}',
        "quotas__redis_timeout_s": "10",  # late is not lost, on a machine that is busy with other tests
    }
    with replicas(tmp_path_factory.mktemp("data"), redis.url, **quotas) as servers:
        yield servers


def told(name: str, got: Counter[int]) -> Counter[int]:
    """What came of requests, printed and passed on."""
    lost = got.total() - got[200] - got[429]
    print(f"{name}: {got.total()} tried, {got[200]} served, {got[429]} refused, {lost} lost")  # noqa: T201
    return got


def test_two_processes_serve_exactly_as_many_requests_as_one_may(servers):
    assert told("requests", servers.ask(servers.key("public"), "/rerank", SMALL, 250)) == {200: 150, 429: 100}


def test_two_processes_serve_exactly_as_many_similarities_as_one_may(servers):
    key = servers.key("public")
    assert told("similarities", servers.ask(key, "/v1/batch-similarity", TEN, 100)) == {200: 50, 429: 50}
    # Those that were refused took no requests: 100 are left.
    assert servers.ask(key, "/rerank", SMALL | {"documents": ["an owl"] * 11}, 100) == {413: 100}
    assert servers.ask(key, "/rerank", SMALL, 1) == {429: 1}


def test_without_redis_each_process_goes_on_alone_until_it_is_back(servers, redis):
    key = servers.key("public")
    assert servers.ask(key, "/rerank", SMALL, 100) == {200: 100}
    redis.kill()
    assert told("Redis killed", servers.ask(key, "/rerank", SMALL, 400)) == {200: 300, 429: 100}
    assert servers.metric(0, "quota_alone_total") >= 150
    assert servers.metric(1, BREAKER) == 1
    redis.start()
    eventually(lambda: not any(servers.metric(server, BREAKER) for server in (0, 1)))
    assert told("Redis back", servers.ask(servers.key("public"), "/rerank", SMALL, 250)) == {200: 150, 429: 100}


@pytest.mark.soak
def test_every_minute_has_its_requests_and_no_more(servers):
    key = servers.key("public")
    for _ in range(3):
        start = time.monotonic()
        assert told("a minute", servers.ask(key, "/rerank", SMALL, 400)) == {200: 150, 429: 250}
        assert time.monotonic() - start < 50
        time.sleep(60.5 - (time.monotonic() - start))
