import pytest

from loadtests.history import History, Snapshot


def history(stages):
    """A run second by second. stages: so many seconds, users, milliseconds of every request, refused of ten."""
    run, at, requests, failures, times = History(), 0, 0, 0, {}
    for seconds, users, ms, refused in stages:
        for _ in range(seconds):
            run.snapshots.append(Snapshot(float(at), users, requests, failures, dict(times), 500.0))
            at, requests, failures = at + 1, requests + 10, failures + refused
            times[ms] = times.get(ms, 0) + 10
    run.snapshots.append(Snapshot(float(at), 0, requests, failures, dict(times), 500.0))
    return run


def test_a_window_holds_what_ended_in_it():
    run = history([(10, 50, 20, 0), (10, 100, 300, 1)])
    assert run.window(0, 10).per_second == 10
    assert run.window(0, 10).p95_ms == 20
    late = run.window(12, 18)
    assert (late.per_second, late.p95_ms, late.lost_percent) == (9, 300, 10)
    assert run.window(0, 20).p95_ms == 300


@pytest.mark.parametrize(("ms", "refused", "too_much"), [(500, 0, False), (510, 0, True), (5, 1, True)])
def test_slow_or_refused_is_too_much(ms, refused, too_much):
    assert history([(10, 50, ms, refused)]).window(0, 10).too_much is too_much


def test_nothing_answered_is_too_much():
    assert History().window(0, 9).too_much


@pytest.mark.parametrize("bad_s", [0, 3, 9])
def test_recovery_is_the_time_until_all_is_well(bad_s):
    run = history([(10, 50, 20, 0), (10, 400, 900, 5), (bad_s, 50, 900, 0), (20, 50, 20, 0)])
    assert run.back_at == 20
    assert run.recovery_s == bad_s


def test_no_recovery_within_the_run():
    assert history([(10, 400, 900, 5), (20, 50, 900, 0)]).recovery_s is None


def test_who_was_never_gone_is_back():
    assert history([(10, 50, 900, 0)]).recovery_s == 0


def test_memory_grows_by_the_slope_of_the_second_half():
    filling = [Snapshot(float(at), 50, 0, 0, {}, 100.0 + at) for at in range(50)]
    flat = [Snapshot(float(at), 50, 0, 0, {}, 150.0 + 0.01 * at) for at in range(50, 101)]
    run = History(filling + flat)
    assert run.most_mb == 151
    assert run.growth_mb_per_hour == pytest.approx(36)


def test_too_few_readings_tell_nothing():
    assert History().growth_mb_per_hour is None
    assert History([Snapshot(1.0, 50, 0, 0, {})]).most_mb is None
