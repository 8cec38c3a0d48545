import pytest

from loadtests.figures import Figures, Memory
from loadtests.run import Run
from loadtests.shapes import SHAPES
from loadtests.thresholds import bounds_of, judge
from tests.loadtests.made_up import stress

GOOD = {
    "requests": 5000,
    "failed": 0,
    "refused": 0,
    "cut": 0,
    "per_second": 50.0,
    "p50_ms": 20.0,
    "p95_ms": 80.0,
    "p99_ms": 200.0,
}
MEMORY = Memory(500.0, 600.0, 620.0, 1.0)


def missed(shape, memory=MEMORY, run=None, **changed):
    run = run or Run(shape, 0.0, 100.0, memory=[(0.0, 500.0)])
    checks = judge(run, Figures(**GOOD | changed), memory, bounds_of(shape))
    return [check.name for check in checks if not check.met]


def test_the_prds_thresholds_hold_for_the_normal_shape():
    bounds = {"p50_ms": 200, "p95_ms": 500, "p99_ms": 1000, "errors_below_percent": 1, "rss_mb": 2000}
    assert bounds_of("normal") == bounds | {"at_least_per_second": 40, "most_errors": 0, "most_refusals": 0}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_good_run_keeps_to_them(shape):
    assert missed(shape) == []


@pytest.mark.parametrize(
    ("name", "figure", "bound", "worse"),
    [
        ("p50", "p50_ms", 200.0, 200.001),
        ("p95", "p95_ms", 500.0, 500.001),
        ("p99", "p99_ms", 1000.0, 1000.001),
        ("requests/s", "per_second", 40.0, 39.999),
        ("errors", "failed", 0, 1),
        ("refusals", "refused", 0, 1),
    ],
)
def test_each_threshold_is_kept_at_it_and_missed_beyond(name, figure, bound, worse):
    assert missed("normal", **{figure: bound}) == []
    assert missed("normal", **{figure: worse}) == [name]


def test_errors_stay_below_one_per_cent():
    assert missed("stress", failed=49) == []
    assert missed("stress", failed=50) == ["errors in per cent"]


@pytest.mark.parametrize(("most", "names"), [(2000.0, []), (2000.1, ["memory, most"])])
def test_memory_has_a_bound(most, names):
    assert missed("normal", memory=Memory(500.0, most, most, 0.0)) == names


@pytest.mark.parametrize(("growth", "names"), [(100.0, []), (100.1, ["memory, growth"]), (-100.0, [])])
def test_memory_is_flat_over_a_soak(growth, names):
    assert missed("soak", memory=Memory(500.0, 600.0, 600.0, growth)) == names


def test_a_run_without_answers_or_readings_misses_what_it_cannot_tell():
    nothing = {"requests": 0, "per_second": 0.0, "p50_ms": None, "p95_ms": None, "p99_ms": None}
    assert missed("normal", memory=None, **nothing) == [
        "requests/s",
        "p50",
        "p95",
        "p99",
        "errors in per cent",
        "memory, most",
    ]


def test_the_memory_of_a_service_elsewhere_is_not_judged():
    assert missed("normal", memory=None, run=Run("normal", 0.0, 100.0)) == []


@pytest.mark.parametrize(("calm_after", "names"), [(10.0, []), (11.0, ["recovery"]), (28.0, ["recovery"])])
def test_the_service_is_well_again_within_ten_seconds(calm_after, names):
    run = stress(calm_after=calm_after)
    run.memory = [(0.0, 500.0)]
    assert missed("stress", run=run) == names


def test_a_threshold_that_is_none_is_refused(tmp_path):
    path = tmp_path / "thresholds.toml"
    path.write_text("[all]\np90_ms = 3\n")
    with pytest.raises(ValueError, match="no such threshold: p90_ms"):
        bounds_of("normal", path)
