import io

import pytest
from rich.console import Console

from loadtests.history import Window
from loadtests.shapes import SHAPES
from loadtests.thresholds import bounds_of, facts, judge, show
from tests.loadtests.test_history import history

GOOD = {
    "at_least_per_second": 50.0,
    "p50_ms": 20.0,
    "p95_ms": 80.0,
    "p99_ms": 200.0,
    "most_errors": 0,
    "errors_below_percent": 0.0,
    "most_refusals": 0,
    "rss_mb": 620.0,
    "rss_growth_mb_per_hour": 1.0,
    "recovery_s": 0.0,
}


def missed(shape, **changed):
    return [check.name for check in judge(GOOD | changed, bounds_of(shape)) if not check.met]


def test_the_prds_thresholds_hold_for_the_normal_shape():
    bounds = {"p50_ms": 200, "p95_ms": 500, "p99_ms": 1000, "errors_below_percent": 1, "rss_mb": 2000}
    assert bounds_of("normal") == bounds | {"at_least_per_second": 40, "most_errors": 0, "most_refusals": 0}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_good_run_keeps_to_them(shape):
    assert missed(shape) == []


@pytest.mark.parametrize(
    ("shape", "name", "fact", "bound", "beyond"),
    [
        ("normal", "p50", "p50_ms", 200.0, 210.0),
        ("normal", "p95", "p95_ms", 500.0, 510.0),
        ("normal", "p99", "p99_ms", 1000.0, 1100.0),
        ("normal", "requests/s", "at_least_per_second", 40.0, 39.999),
        ("normal", "errors", "most_errors", 0, 1),
        ("peak", "refusals", "most_refusals", 0, 1),
        ("stress", "errors in per cent", "errors_below_percent", 0.99, 1.0),
        ("normal", "memory, most", "rss_mb", 2000.0, 2000.1),
        ("soak", "memory, growth", "rss_growth_mb_per_hour", 100.0, 100.1),
        ("stress", "recovery", "recovery_s", 10.0, 11.0),
        ("spike", "recovery", "recovery_s", 10.0, None),
    ],
)
def test_each_threshold_is_kept_at_it_and_missed_beyond(shape, name, fact, bound, beyond):
    assert missed(shape, **{fact: bound}) == []
    assert missed(shape, **{fact: beyond}) == [name]


def test_facts_tell_refusals_from_errors():
    found = facts(history([(10, 50, 20, 0)]), 200, 12, 10, 20.0, 30.0, 40.0)
    assert (found["most_refusals"], found["most_errors"], found["errors_below_percent"]) == (10, 2, 1.0)
    assert found["at_least_per_second"] == 18.8
    assert found["rss_mb"] == 500


def test_the_memory_of_a_service_elsewhere_is_not_judged():
    checks = judge(GOOD | {"rss_mb": None}, bounds_of("normal"), remote=True)
    assert all(check.met for check in checks)


def test_a_threshold_that_is_none_is_refused(tmp_path):
    path = tmp_path / "thresholds.toml"
    path.write_text("[all]\np90_ms = 3\n")
    with pytest.raises(ValueError, match="no such threshold: p90_ms"):
        bounds_of("normal", path)


def test_the_verdict_names_what_was_missed():
    run, text = history([(10, 400, 900, 5), (5, 50, 900, 0)]), io.StringIO()
    run.knee = (60, Window(60.0, 100.0, 0.0))
    found = GOOD | {"recovery_s": None}
    show(Console(file=text, width=100), "stress", run, found, judge(found, bounds_of("stress")))
    assert "knee: 60 users, 60 requests/s, p95 100 ms" in text.getvalue()
    assert "fewer users after 10 s: never within" in text.getvalue()
    assert "MISSED" in next(line for line in text.getvalue().splitlines() if line.startswith(" recovery"))
    assert "stress: FAILED" in text.getvalue()
