"""Shared counters in a real Redis process, also during outages."""

import logging
import time
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits.storage import RedisStorage
from limits.strategies import FixedWindowRateLimiter

from app.quotas.redis_counters import Lost, SharedCounters
from app.quotas.windows import LocalCounters
from tests.app.quotas.counting import at_once, charges, left
from tests.redis_server import RedisServer, answering, damage_all, not_accepting
from tests.waiting import PATIENT_S, eventually

DAY_S = 86_400.0


@pytest.fixture(scope="module")
def server():
    with RedisServer() as server:
        yield server


@pytest.fixture
def replicas(server):
    """The counters of two replicas. They share only Redis, as in two processes."""
    server.client().flushall()
    with ExitStack() as stack:
        yield [opened(stack, server.url) for _ in range(2)]


def opened(stack, url, **options):
    counters = SharedCounters(url, **{"timeout_s": PATIENT_S, "retry_s": 0.05} | options)
    stack.callback(counters.close)
    return counters


@pytest.mark.parametrize("limit", [1, 60, 199, 200])
def test_of_50_threads_of_two_replicas_as_many_pass_as_may(replicas, limit):
    verdicts = at_once(lambda thread: replicas[thread % 2].take("a", charges(limit)))
    assert sum(verdict.taken for verdict in verdicts) == min(limit, len(verdicts))


def test_a_refusal_takes_nothing_of_either_quota(replicas):
    one, other = replicas
    assert one.take("a", charges(4, 100, cost=60)).taken
    for _ in range(3):
        verdict = other.take("a", charges(4, 100, cost=60))
        assert (verdict.taken, left(verdict)) == (False, {"similarities": 40})
    assert left(one.take("a", charges(4, 100, cost=40))) == {"requests": 2, "similarities": 0}
    assert left(other.take("a", charges(4, 100, cost=1)[:1])) == {"requests": 1}
    assert left(other.take("b", charges(4, 100))) == {"requests": 3, "similarities": 90}


@given(requests=st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 40), st.booleans()), max_size=30))
def test_both_counters_decide_alike(server, requests):
    server.client().flushall()
    with ExitStack() as stack:
        local, shared = LocalCounters(), opened(stack, server.url)
        for caller, cost, both in requests:
            taken = charges(7, 100, cost=cost)[: 1 + both]
            ours, theirs = local.take(caller, taken), shared.take(caller, taken)
            assert (ours.taken, left(ours)) == (theirs.taken, left(theirs))
            for one, other in zip(ours.standings, theirs.standings, strict=True):
                assert one.resets_in_s == pytest.approx(other.resets_in_s, abs=30)


def test_the_librarys_own_strategy_sees_what_was_counted(server, replicas):
    limit = charges()[0].limit
    for counters in replicas:
        counters.take("a", charges())
    strategy = FixedWindowRateLimiter(RedisStorage(server.url, key_prefix="qrerank:quota"))
    assert strategy.get_window_stats(limit, "a").remaining == 58
    assert strategy.get_window_stats(limit, "a").reset_time == pytest.approx(time.time() + 60, abs=30)


@pytest.mark.parametrize("jump", [-DAY_S, DAY_S])
def test_a_jump_of_our_clock_neither_frees_nor_locks(monkeypatch, server, replicas, jump):
    assert replicas[0].take("a", charges(1)).taken
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + jump)
    assert not replicas[0].take("a", charges(1)).taken
    for key in server.client().scan_iter():
        server.client().pexpire(key, 1)
    eventually(lambda: replicas[1].take("a", charges(1)).taken)


@pytest.mark.parametrize("damage", ["persist", "lengthen"])
def test_a_window_without_end_is_cut_to_its_size(server, replicas, damage):
    assert replicas[0].take("a", charges(1)).taken
    for key in server.client().scan_iter():
        server.client().persist(key) if damage == "persist" else server.client().expire(key, 10**6)
    verdict = replicas[1].take("a", charges(1))
    assert not verdict.taken
    assert verdict.standings[0].resets_in_s == 60
    assert 0 < server.client().ttl("qrerank:quota:requests/a/1/1/minute") <= 60


@pytest.mark.parametrize(
    "damage",
    [
        *(
            b"",
            b"owl",
            b"-5",
            b"-0",
            b"1.5",
            b"1e3",
            b"0x10",
            b" 5",
            b"5\n",
            b"007",
            b"nan",
            b"inf",
            b"\xff\0",
            b"5" * 400,
        ),
        *(b"9" * 16, b"9223372036854775807", b"-9223372036854775808", b"18446744073709551616"),
        *(("RPUSH", 1, 2), ("HSET", "a", 1), ("SADD", 1), ("ZADD", 1, "a"), ("XADD", "*", "a", 1)),
    ],
    ids=lambda damage: repr(damage)[:24],
)
def test_a_counter_that_is_no_number_begins_anew_and_costs_nobody_anything(server, replicas, damage, caplog):
    one, other = replicas
    assert one.take("a", charges()).taken
    assert one.take("b", charges()).taken
    damage_all(server.client(), damage)
    verdict = other.take("a", charges())
    assert (verdict.taken, left(verdict)) == (True, {"requests": 59, "similarities": 99_990})
    assert left(one.take("a", charges())) == {"requests": 58, "similarities": 99_980}
    assert 55 < server.client().ttl("qrerank:quota:requests/a/60/1/minute") <= 60
    assert (one.resets, other.resets, one.breaker.errors, other.breaker.errors) == (0, 2, 0, 0)
    assert one.breaker.available
    assert other.breaker.available
    assert one.take("b", charges()).taken
    assert "quota counters that are not numbers" in one.breaker.last_fault.text
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"], "each tells once"


def test_a_counter_far_beyond_its_quota_refuses_until_its_window_ends(server, replicas):
    assert replicas[0].take("a", charges()).taken
    damage_all(server.client(), b"9" * 15)
    verdict = replicas[0].take("a", charges())
    assert (verdict.taken, left(verdict)) == (False, {"requests": 0})
    assert 0 < verdict.standings[0].resets_in_s <= 60
    assert 0 < server.client().ttl("qrerank:quota:requests/a/60/1/minute") <= 60


ODD = [
    *(
        b":5\r\n",
        b"+OK\r\n",
        b"$-1\r\n",
        b"$3\r\nabc\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*1\r\n:0\r\n",
        b"*2\r\n:0\r\n:0\r\n",
    ),
    b"*6\r\n:0\r\n:0\r\n:1\r\n:1\r\n$1\r\n1\r\n:1\r\n",
    b"*6\r\n:0\r\n:0\r\n:1\r\n:1\r\n*0\r\n:1\r\n",
    b"*6\r\n:0\r\n:0\r\n:1\r\n:1\r\n-ERR no\r\n:1\r\n",
    b"*4\r\n:3\r\n:0\r\n:1\r\n:1\r\n",
    b"*4\r\n:-1\r\n:0\r\n:1\r\n:1\r\n",
    b"*4\r\n:0\r\n:0\r\n:1\r\n:1\r\n",
    b"*7\r\n" + b":0\r\n" * 7,
    b"*1\r\n" * 5000 + b":1\r\n",
    b"-WRONGTYPE no\r\n",
    b"-NOSCRIPT no\r\n",
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:40])
def test_answers_of_every_wrong_type_are_an_outage_in_which_each_counts_alone(odd):
    with answering(odd) as port, ExitStack() as stack:
        counters = opened(stack, f"redis://127.0.0.1:{port}")
        with pytest.raises(Lost):
            counters.take("a", charges())
        assert not counters.breaker.available
        assert counters.breaker.errors == 1


@pytest.mark.parametrize("numbers", [(0, 0, -5, 10**12, 10**18, -7), (0, 0, 10**18, 10**18, 0, 0)])
def test_numbers_that_cannot_be_come_to_standings_that_can(numbers):
    odd = b"*6\r\n" + b"".join(b":%d\r\n" % number for number in numbers)
    with answering(odd) as port, ExitStack() as stack:
        verdict = opened(stack, f"redis://127.0.0.1:{port}").take("a", charges())
        for standing in verdict.standings:
            assert 0 <= standing.left <= standing.limit
            assert 0 <= standing.resets_in_s <= 3600


def test_whatever_befalls_the_watch_the_outage_ends(monkeypatch, caplog):
    with RedisServer() as server, ExitStack() as stack:
        counters = opened(stack, server.url)
        calls, run_script = [], counters._run_script

        def fail(*arguments):
            calls.append(arguments)
            if len(calls) < 4:
                raise ZeroDivisionError
            return run_script(*arguments)

        monkeypatch.setattr(counters, "_run_script", fail)
        counters.breaker.fail(TimeoutError())
        eventually(lambda: counters.breaker.available)
        assert sum("the probe of Redis at" in message for message in caplog.messages) == 3


def test_an_outage_is_logged_once_and_ends_by_itself(caplog):
    caplog.set_level(logging.INFO, "retrieval.circuit_breaker")
    with RedisServer("--requirepass", "secret") as server, ExitStack() as stack:
        counters = opened(stack, f"redis://:secret@127.0.0.1:{server.port}")
        assert counters.take("a", charges()).taken
        server.kill()
        verdicts = []
        for _ in range(5):
            with pytest.raises(Lost):
                verdicts.append(counters.take("a", charges()))
        assert not counters.breaker.available
        assert counters.breaker.errors >= 1
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert f"127.0.0.1:{server.port} fails (ConnectionError" in caplog.text
        server.start()
        eventually(lambda: counters.breaker.available)
        assert left(counters.take("a", charges())) == {"requests": 59, "similarities": 99_990}
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
        assert "secret" not in caplog.text


def test_whoever_asks_whether_the_server_answers_knows_before_anybody_needs_it():
    with RedisServer() as server, ExitStack() as stack:
        counters = opened(stack, server.url)
        counters.check()
        assert (counters.breaker.available, counters.breaker.last_fault) == (True, None)
        server.kill()
        counters.check()
        assert not counters.breaker.available
        assert f"Redis at 127.0.0.1:{server.port} fails" in counters.breaker.last_fault.text
        server.start()
        eventually(lambda: counters.breaker.available)
        assert counters.breaker.last_fault


def test_scripts_are_loaded_again_after_the_server_lost_them(server, replicas):
    assert replicas[0].take("a", charges(2)).taken
    server.client().script_flush()
    assert replicas[0].take("a", charges(2)).taken
    assert not replicas[0].take("a", charges(2)).taken


@pytest.mark.parametrize(
    "broken", [lambda: answering(None), lambda: answering(b"HTTP/1.1 400 Bad Request\r\n\r\n"), not_accepting]
)
def test_what_does_not_answer_as_redis_does_is_lost(broken):
    with broken() as port, ExitStack() as stack:
        counters = opened(stack, f"redis://127.0.0.1:{port}", timeout_s=0.05)
        with pytest.raises(Lost):
            counters.take("a", charges())
        assert not counters.breaker.available


def refusals(server):
    """How often a server failed to run the script."""
    statistics = server.client().info("commandstats").get("cmdstat_evalsha", {})
    return statistics.get("failed_calls", 0) + statistics.get("rejected_calls", 0)


def test_a_server_that_takes_no_writes_is_lost_and_met_when_it_does(caplog):
    with RedisServer() as server, ExitStack() as stack:
        counters = opened(stack, server.url)
        server.client().config_set("min-replicas-to-write", 1)
        with pytest.raises(Lost):
            counters.take("a", charges())
        tried = refusals(server)
        eventually(lambda: refusals(server) > tried + 2)
        assert not counters.breaker.available
        server.client().config_set("min-replicas-to-write", 0)
        eventually(lambda: counters.breaker.available)


def test_no_call_is_made_after_close():
    with ExitStack() as stack:
        counters = opened(stack, "redis://127.0.0.1:1")
        counters.close()
        with pytest.raises(Lost):
            counters.take("a", charges())
        assert counters.breaker.errors == 0
