import time

import pytest
from limits import RateLimitItemPerMinute
from limits.strategies import FixedWindowRateLimiter

from app.quotas.windows import LocalCounters, MonotonicStorage, Standing
from tests.app.quotas.counting import at_once, charges, left

DAY_S = 86_400.0


@pytest.fixture
def at(monotonic):
    """Sets the monotonic clock, in seconds after the start."""
    start = monotonic.now

    def set_to(seconds):
        monotonic.now = start + seconds

    return set_to


@pytest.mark.parametrize("limit", [1, 60, 199, 200])
def test_of_50_threads_at_once_as_many_pass_as_may(monkeypatch, limit):
    test = FixedWindowRateLimiter.test

    def slowly(*args, **kwargs):
        within = test(*args, **kwargs)
        time.sleep(0.0002)  # lets another thread run between `test` and `hit`
        return within

    monkeypatch.setattr(FixedWindowRateLimiter, "test", slowly)
    counters = LocalCounters()
    verdicts = at_once(lambda _: counters.take("a", charges(limit)))
    assert sum(verdict.taken for verdict in verdicts) == min(limit, len(verdicts))


def test_the_last_one_passes_and_the_next_one_is_refused(at):
    counters = LocalCounters()
    for used in range(3):
        assert left(counters.take("a", charges(3))) == {"requests": 2 - used, "similarities": 99_990 - 10 * used}
    at(20)
    verdict = counters.take("a", charges(3))
    assert not verdict.taken
    assert verdict.standings == [Standing("requests", 3, "minute", 0, pytest.approx(40))]
    assert counters.take("b", charges(3)).taken


def test_a_wall_clock_that_steps_changes_no_reset(at, monkeypatch):
    counters = LocalCounters()
    counters.take("a", charges(3))
    at(20)
    steps = iter(range(0, 10**6, 3600))
    monkeypatch.setattr(time, "time", lambda: next(steps))
    verdict = counters.take("a", charges(3))
    assert [standing.resets_in_s for standing in verdict.standings] == [pytest.approx(40), pytest.approx(3580)]


def test_a_refusal_takes_nothing_of_either_quota():
    counters = LocalCounters()
    assert counters.take("a", charges(4, 100, cost=60)).taken
    for _ in range(3):
        assert left(counters.take("a", charges(4, 100, cost=60))) == {"similarities": 40}
    assert left(counters.take("a", charges(4, 100, cost=40))) == {"requests": 2, "similarities": 0}
    assert left(counters.take("a", charges(4, 100, cost=1)[:1])) == {"requests": 1}


def test_a_window_begins_with_the_first_request_and_ends_for_all_of_them(at):
    counters = LocalCounters()
    at(30)
    assert counters.take("a", charges(2)).taken
    at(89)
    assert counters.take("a", charges(2)).taken
    assert not counters.take("a", charges(2)).taken
    at(90)
    assert left(counters.take("a", charges(2))) == {"requests": 1, "similarities": 99_970}


@pytest.mark.parametrize("jump", [-DAY_S, DAY_S])
def test_a_jump_of_the_clock_neither_frees_nor_locks(monkeypatch, at, jump):
    counters = LocalCounters()
    assert counters.take("a", charges(1)).taken
    now = time.time() + jump
    monkeypatch.setattr(time, "time", lambda: now)
    verdict = counters.take("a", charges(1))
    assert not verdict.taken
    assert verdict.standings[0].retry_after_s == 60
    assert int(verdict.standings[0].headers()["X-RateLimit-Reset"]) == pytest.approx(now + 60, abs=1)
    at(60)
    assert counters.take("a", charges(1)).taken


def test_what_is_over_is_forgotten(at):
    storage = MonotonicStorage()
    for number in range(1000):
        storage.incr(str(number), 60)
    at(61)
    storage.incr("new", 60)
    assert storage.reset() == 1
    assert not storage._queue[1:]


def test_a_key_that_was_cleared_begins_anew(at):
    storage = MonotonicStorage()
    storage.incr("a", 60)
    storage.clear("a")
    at(30)
    assert storage.incr("a", 60, 2) == 2
    at(61)
    assert storage.get("a") == 2
    at(90)
    assert storage.get("a") == 0
    assert storage.check()


@pytest.mark.parametrize(
    ("reported_s", "resets_in_s", "retry_after_s"), [(0.2, 0.2, 1), (59.01, 59.01, 60), (-5, 0, 1), (DAY_S, 60, 60)]
)
def test_times_are_whole_seconds_within_the_window(reported_s, resets_in_s, retry_after_s):
    standing = Standing.of(RateLimitItemPerMinute(60, namespace="requests"), 7, reported_s)
    assert (standing.resets_in_s, standing.retry_after_s) == (resets_in_s, retry_after_s)
    headers = standing.headers()
    assert headers.pop("X-RateLimit-Reset").isdecimal()
    assert headers == {
        "X-RateLimit-Limit": "60",
        "X-RateLimit-Remaining": "7",
        "X-RateLimit-Resource": "requests",
    }
