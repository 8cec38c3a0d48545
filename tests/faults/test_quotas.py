"""Quotas of two server processes that share one Redis, which is killed and restarted."""

import time
from collections import Counter

import pytest

from tests.faults.replicas import replicas
from tests.redis_server import RedisServer
from tests.waiting import eventually

pytestmark = pytest.mark.slow

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
        "quotas__redis_timeout_s": "10",  # so that a slow Redis on a busy machine does not count as lost
    }
    with replicas(tmp_path_factory.mktemp("data"), redis.url, **quotas) as servers:
        yield servers


def printed(name: str, statuses: Counter[int]) -> Counter[int]:
    """Print the counts of statuses, and return them."""
    lost = statuses.total() - statuses[200] - statuses[429]
    print(f"{name}: {statuses.total()} tried, {statuses[200]} served, {statuses[429]} refused, {lost} lost")  # noqa: T201
    return statuses


def test_two_processes_serve_exactly_as_many_requests_as_one_may(servers):
    assert printed("requests", servers.ask(servers.key("public"), "/rerank", SMALL, 250)) == {200: 150, 429: 100}


def test_two_processes_serve_exactly_as_many_similarities_as_one_may(servers):
    key = servers.key("public")
    assert printed("similarities", servers.ask(key, "/v1/batch-similarity", TEN, 100)) == {200: 50, 429: 50}
    # Rejected requests do not count: 100 are left.
    assert servers.ask(key, "/rerank", SMALL | {"documents": ["an owl"] * 11}, 100) == {413: 100}
    assert servers.ask(key, "/rerank", SMALL, 1) == {429: 1}


def test_without_redis_each_process_goes_on_alone_until_it_is_back(servers, redis):
    key = servers.key("public")
    assert servers.ask(key, "/rerank", SMALL, 100) == {200: 100}
    redis.kill()
    assert printed("Redis killed", servers.ask(key, "/rerank", SMALL, 400)) == {200: 300, 429: 100}
    assert servers.metric(0, "quota_alone_total") >= 150
    assert servers.metric(1, BREAKER) == 1
    redis.start()
    eventually(lambda: not any(servers.metric(server, BREAKER) for server in (0, 1)))
    assert printed("Redis back", servers.ask(servers.key("public"), "/rerank", SMALL, 250)) == {200: 150, 429: 100}


@pytest.mark.soak
def test_every_minute_has_its_requests_and_no_more(servers):
    key = servers.key("public")
    for _ in range(3):
        start = time.monotonic()
        assert printed("a minute", servers.ask(key, "/rerank", SMALL, 400)) == {200: 150, 429: 250}
        assert time.monotonic() - start < 50
        time.sleep(60.5 - (time.monotonic() - start))
