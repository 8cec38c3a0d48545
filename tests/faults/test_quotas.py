"""Quotas of two server processes that share one Redis, which dies and comes back."""

import time
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import pytest

from tests.faults.replicas import Replicas, replicas
from tests.redis_server import RedisServer, eventually

SMALL = {"query": "owl", "documents": ["an owl"], "method": "classical"}
TEN = {"queries": ["owl"], "documents": [f"an owl {number}" for number in range(10)], "method": "quantum"}
T = TypeVar("T")
BREAKER = 'breaker_open{dependency="quota_redis"}'


@pytest.fixture(scope="module")
def redis():
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def servers(redis, tmp_path_factory):
    quotas = {"quotas__public": '{"requests_per_minute": 150, "similarities_per_hour": 1000}'}
    with replicas(tmp_path_factory.mktemp("data"), redis.url, **quotas) as servers:
        yield servers


def told(name: str, got: Counter[int]) -> Counter[int]:
    """What came of requests, printed and passed on."""
    lost = got.total() - got[200] - got[429]
    print(f"{name}: {got.total()} tried, {got[200]} served, {got[429]} refused, {lost} lost")  # noqa: T201
    return got


def alone(servers: Replicas) -> float:
    """Requests that the servers counted without Redis."""
    return sum(servers.metric(server, "quota_alone_total") for server in (0, 1))


def together(servers: Replicas, asking: Callable[[str], T]) -> T:
    """What comes of asking with a new key while Redis answers: on a busy machine it may once be too late."""
    for _ in range(5):
        eventually(lambda: not any(servers.metric(server, BREAKER) for server in (0, 1)))
        before = alone(servers)
        got = asking(servers.key("public"))
        if alone(servers) == before:
            return got
    pytest.fail("Redis was late in each of five attempts")


def test_two_processes_serve_exactly_as_many_requests_as_one_may(servers):
    got = together(servers, lambda key: servers.ask(key, "/rerank", SMALL, 250))
    assert told("requests", got) == {200: 150, 429: 100}


def test_two_processes_serve_exactly_as_many_similarities_as_one_may(servers):
    def asking(key: str) -> tuple[Counter[int], ...]:
        return (
            servers.ask(key, "/v1/batch-similarity", TEN, 100),
            servers.ask(key, "/rerank", SMALL | {"documents": ["an owl"] * 11}, 100),
            servers.ask(key, "/rerank", SMALL, 1),
        )

    served, large, last = together(servers, asking)
    assert told("similarities", served) == {200: 50, 429: 50}
    assert large == {413: 100}, "those that were refused took no requests: 100 were left"
    assert last == {429: 1}


def test_without_redis_each_process_goes_on_alone_until_it_is_back(servers, redis):
    key, got = together(servers, lambda key: (key, servers.ask(key, "/rerank", SMALL, 100)))
    assert got == {200: 100}
    before = alone(servers)
    redis.kill()
    assert told("Redis killed", servers.ask(key, "/rerank", SMALL, 400)) == {200: 300, 429: 100}
    assert alone(servers) - before >= 300
    assert servers.metric(1, BREAKER) == 1
    redis.start()
    got = together(servers, lambda key: servers.ask(key, "/rerank", SMALL, 250))
    assert told("Redis back", got) == {200: 150, 429: 100}


@pytest.mark.soak
def test_every_minute_has_its_requests_and_no_more(servers):
    key = servers.key("public")
    for _ in range(3):
        start = time.monotonic()
        assert told("a minute", servers.ask(key, "/rerank", SMALL, 400)) == {200: 150, 429: 250}
        assert time.monotonic() - start < 50
        time.sleep(60.5 - (time.monotonic() - start))
