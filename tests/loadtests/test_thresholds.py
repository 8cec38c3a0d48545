import pytest

from loadtests.balancer import configuration
from loadtests.shapes import BOUNDS, PLANS
from loadtests.thresholds import WINDOW_S, History, Present, facts, judge, report

WELL, BAD = Present(50.0, 80.0, 0.0), Present(50.0, 900.0, 0.0)
GOOD = facts(History(seconds=10.0, recovery_s=0.0, memory=[(at, 620.0) for at in range(11)]), 500, 0, 0, (20, 80, 200))


def history(*stages, mb=None):
    """A run second by second. stages: so many seconds, users, and what Locust tells of the present."""
    run, at = History(), 0
    for seconds, users, present in stages:
        for _ in range(seconds):
            run.note(float(at), users, present, mb(at) if mb else None)
            at += 1
    return run


@pytest.mark.parametrize(
    ("p95_ms", "lost", "too_much"), [(500, 0.9, False), (510, 0, True), (5, 1, True), (None, 0, True)]
)
def test_slow_or_lost_or_silent_is_too_much(p95_ms, lost, too_much):
    assert Present(50.0, p95_ms, lost).too_much is too_much


@pytest.mark.parametrize("bad_s", [0, 3, 9])
def test_recovery_is_the_time_until_all_is_well(bad_s):
    run = history((10, 50, WELL), (10, 400, BAD), (int(WINDOW_S) + bad_s, 50, BAD), (9, 50, WELL))
    assert (run.back_at, run.recovery_s) == (20, bad_s)
    assert history((10, 400, BAD), (20, 50, BAD)).recovery_s is None


def test_the_knee_is_the_last_step_before_it_was_too_much():
    steps = [(14, users, WELL if users <= 70 else BAD) for users in range(50, 100, 10)]
    run = history(*steps, (30, 50, WELL))
    assert (run.knee, run.recovery_s) == ((70, WELL), 0)
    assert "knee: 70 users, 50 requests/s, p95 80 ms" in report("stress", run, [])
    assert "knee" not in report("normal", history((30, 50, WELL)), [])


def test_memory_grows_by_the_slope_of_the_second_half():
    run = history((101, 50, WELL), mb=lambda at: 100.0 + at if at < 50 else 150.0 + 0.01 * at)
    assert facts(run, 0, 0, 0, (None,) * 3)["rss_mb"] == 151
    assert run.growth_mb_per_hour == pytest.approx(36)
    assert history((2, 50, WELL)).growth_mb_per_hour is None


def missed(shape, **changed):
    return [check.name for check in judge(GOOD | changed, BOUNDS[shape]) if not check.met]


def test_the_prds_thresholds_hold_for_the_normal_shape():
    bounds = {"p50_ms": 200, "p95_ms": 500, "p99_ms": 1000, "errors_below_percent": 1, "rss_mb": 2000}
    assert set(BOUNDS) == set(PLANS)
    assert BOUNDS["normal"] == bounds | {"at_least_per_second": 40, "most_errors": 0, "most_refusals": 0}


@pytest.mark.parametrize(
    ("shape", "name", "bound", "beyond"),
    [
        ("normal", "p95_ms", 500.0, 510.0),
        ("normal", "at_least_per_second", 40.0, 39.999),
        ("peak", "most_refusals", 0, 1),
        ("stress", "errors_below_percent", 0.99, 1.0),
        ("soak", "rss_growth_mb_per_hour", 100.0, 100.1),
        ("spike", "recovery_s", 10.0, None),
    ],
)
def test_each_threshold_is_kept_at_it_and_missed_beyond(shape, name, bound, beyond):
    assert missed(shape, **{name: bound}) == []
    assert missed(shape, **{name: beyond}) == [name]


def test_facts_tell_refusals_from_errors():
    found = facts(history((11, 50, WELL)), 200, 12, 10, (20.0, 30.0, 40.0))
    assert (found["most_refusals"], found["most_errors"], found["errors_below_percent"]) == (10, 2, 1.0)
    assert found["at_least_per_second"] == 18.8


def test_the_verdict_names_what_was_missed_and_leaves_out_the_memory_of_a_service_elsewhere():
    found = GOOD | {"recovery_s": None, "rss_mb": None}
    text = report("stress", History(), judge(found, BOUNDS["stress"], remote=True))
    assert "| recovery_s | none | ≤ 10 | MISSED |" in text
    assert "rss_mb" not in text
    assert text.endswith("stress: FAILED")


def test_the_balancer_knows_every_server():
    text = configuration(9, ["http://127.0.0.1:81", "http://127.0.0.1:82"])
    assert "server replica2 127.0.0.1:82 check" in text
