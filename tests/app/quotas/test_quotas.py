import asyncio
import logging
import time
from contextlib import contextmanager

import pytest

from app.errors import Forbidden, TooLarge
from app.identity import ANONYMOUS, Identity
from app.quotas.quotas import Cost, Quotas
from app.quotas.settings import QuotaSettings
from tests.app.quotas.counting import left
from tests.redis_server import RedisServer, answering
from tests.waiting import eventually

COST = Cost(10, 10, "hybrid")
TIERS = {
    "public": {"requests_per_minute": 3, "similarities_per_hour": 100},
    "standard": {"requests_per_minute": None, "similarities_per_hour": 50, "documents": None},
    "premium": {"requests_per_minute": None, "similarities_per_hour": None, "documents": 2},
}


def caller(name="ada", tier="public", key_id=None):
    return Identity(name, "user", tier, key_id)


@contextmanager
def opened(url=None, **settings):
    patient = {"redis_timeout_s": 10}  # the maximum: a busy machine must not look like an outage of Redis
    quotas = Quotas(QuotaSettings(**TIERS, **patient | settings), url)
    try:
        yield quotas
    finally:
        quotas.close()


def take(quotas, times=1, cost=COST, identity=None):
    """The verdicts of a caller's concurrent requests."""

    async def ask():
        return await asyncio.gather(*(quotas.take(identity or caller(), cost) for _ in range(times)))

    return asyncio.run(ask())


def passed(verdicts):
    return sum(verdict.taken for verdict in verdicts)


@pytest.fixture
def quotas():
    with opened() as quotas:
        yield quotas


def test_the_last_request_passes_and_the_next_is_refused_and_counted(quotas):
    assert passed(take(quotas, 5)) == 3
    assert quotas.counts().refused == {"requests": 2}
    assert (quotas.counts().alone, quotas.counts().available) == (0, None)


def test_similarities_are_pairs_at_their_works_price(quotas):
    for work, spent in (("classical", 10), ("quantum", 20), ("embedding", 10)):
        before = left(take(quotas, identity=caller(tier="standard"), cost=Cost(0, 1, "classical"))[0])["similarities"]
        after = left(take(quotas, identity=caller(tier="standard"), cost=Cost(10, 10, work))[0])["similarities"]
        assert before - after == spent
    assert passed(take(quotas, identity=caller(tier="standard"), cost=Cost(4, 4, "hybrid"))) == 0
    assert quotas.counts().refused == {"similarities": 1}


def test_what_cannot_be_read_is_a_request(quotas):
    assert left(take(quotas, cost=Cost())[0]) == {"requests": 2}
    assert left(take(quotas)[0]) == {"requests": 1, "similarities": 80}


def test_callers_are_distinguished_by_key_or_else_by_name(quotas):
    one, other = caller("qr_1", key_id="1"), caller("qr_1", key_id="2")
    assert passed(take(quotas, 4, identity=one)) == 3
    assert passed(take(quotas, 4, identity=other)) == 3
    assert passed(take(quotas, 4, identity=caller("1"))) == 3
    assert passed(take(quotas, 1, identity=caller("renamed", key_id="1"))) == 0


def test_more_documents_than_the_tiers_are_too_many(quotas):
    quotas.check(caller(), Cost(10, 10, "hybrid"))
    with pytest.raises(TooLarge, match=r"^11 documents were sent and at most 10 are taken of the tier public; "):
        quotas.check(caller(), Cost(11, 11, "classical"))
    quotas.check(caller(tier="standard"), Cost(50, 50, "classical"))


def test_more_than_a_whole_quota_is_too_much_at_any_time(quotas):
    with pytest.raises(TooLarge, match="the request takes 102 similarities and the tier public has 100 an hour"):
        quotas.check(caller(), Cost(10, 51, "hybrid"))


def test_an_unknown_tier_is_rejected_and_logged(caplog, quotas):
    with pytest.raises(Forbidden, match="the tier of this key is not known here"):
        quotas.bind(caller(tier="gold"))
    assert "ada is of the tier 'gold', which is not in the settings" in caplog.text


def test_the_unlimited_are_not_bound_and_those_with_only_a_size_are_not_counted(quotas):
    assert not quotas.bind(ANONYMOUS)
    small = caller(tier="premium")
    assert quotas.bind(small)
    assert take(quotas, 2, identity=small)[1].standings == []
    assert quotas.spent(small) is None
    with pytest.raises(TooLarge):
        quotas.check(small, Cost(3, 3))


def test_whose_requests_are_used_up_is_known_until_there_are_new_ones(monotonic, quotas):
    start = monotonic()
    take(quotas, 3)
    assert quotas.spent(caller()) is None  # no request was rejected yet
    take(quotas)
    monotonic.now = start + 59.5
    refusal = quotas.spent(caller())
    assert not refusal.taken
    assert left(refusal) == {"requests": 0}
    assert refusal.standings[0].resets_in_s == pytest.approx(0.5, abs=0.01)
    assert quotas.spent(caller("eve")) is None
    assert quotas.counts().refused == {"requests": 2}
    monotonic.now = start + 60
    assert quotas.spent(caller()) is None
    assert take(quotas)[0].taken


def test_used_up_similarities_leave_requests_that_need_none(quotas):
    take(quotas, 2, cost=Cost(10, 50, "classical"))
    assert passed(take(quotas)) == 0
    assert quotas.spent(caller()) is None
    assert passed(take(quotas, cost=Cost())) == 1


def test_replicas_count_together():
    with RedisServer() as server, opened(server.url) as one, opened(server.url) as other:
        assert passed(take(one, 2)) == 2
        assert passed(take(other, 4)) == 1
        assert passed(take(one)) == 0
        assert other.counts().available
        assert one.counts().alone == other.counts().alone == 0


def test_a_lost_redis_leaves_each_process_its_own_quotas_until_it_is_back():
    with RedisServer() as server, opened(server.url) as quotas:
        assert passed(take(quotas, 2)) == 2
        server.kill()
        assert passed(take(quotas, 50)) == 3
        counts = quotas.counts()
        assert counts.alone == 50
        assert counts.errors >= 1
        assert not counts.available
        server.start()
        eventually(lambda: quotas.counts().available)
        assert left(take(quotas)[0]) == {"requests": 2, "similarities": 80}
        assert quotas.counts().alone == 50


def test_a_silent_redis_delays_no_request(caplog):
    caplog.set_level(logging.WARNING, "retrieval.circuit_breaker")
    with answering(None) as port, opened(f"redis://127.0.0.1:{port}", redis_timeout_s=0.05) as quotas:
        assert passed(take(quotas, 50)) == 3
        assert quotas.counts().alone == 50
        assert len(caplog.records) == 1


@pytest.mark.parametrize(("seconds", "late_ms", "alone"), [(0.05, 600_000, 1), (10, 300, 0)])
def test_a_redis_that_is_late_is_lost_as_the_setting_says(seconds, late_ms, alone):
    with RedisServer() as server, opened(server.url, redis_timeout_s=seconds) as quotas:
        server.client().client_pause(late_ms)
        assert take(quotas)[0].taken
        assert quotas.counts().alone == alone


@pytest.mark.soak
def test_the_first_request_that_redis_fails_takes_less_than_300_ms():
    for _ in range(10):
        with answering(None) as port, opened(f"redis://127.0.0.1:{port}", redis_timeout_s=0.25) as quotas:
            start = time.monotonic()
            assert take(quotas)[0].taken
            assert time.monotonic() - start < 0.3
