import pytest

from loadtests.baseline import path_of, read, save, worse
from loadtests.thresholds import noise

NOISE = noise()
FIGURES = {"p50_ms": 100.0, "p95_ms": 200.0, "p99_ms": 300.0, "per_second": 50.0}


def told(memory=700.0, knee=None, **changed):
    return {"requests": {"all": FIGURES | changed}, "memory": memory and {"most": memory}, "knee": knee}


@pytest.mark.parametrize(
    ("figure", "within", "beyond", "named"),
    [
        ("p50_ms", 110.0, 110.1, "all p50: 110.1 ms, was 100"),
        ("p95_ms", 220.0, 220.1, "all p95: 220.1 ms, was 200"),
        ("p99_ms", 330.0, 330.1, "all p99: 330.1 ms, was 300"),
        ("per_second", 45.0, 44.9, "all per_second: 44.9 requests/s, was 50"),
        ("memory", 770.0, 770.1, "memory, most: 770.1 mb, was 700"),
    ],
)
def test_what_is_worse_by_more_than_a_tenth_is_named(figure, within, beyond, named):
    assert worse(told(**{figure: within}), told(), NOISE) == []
    assert worse(told(**{figure: beyond}), told(), NOISE) == [named]


def test_better_is_not_worse():
    assert worse(told(p50_ms=1.0, per_second=500.0, memory=1.0), told(), NOISE) == []


def test_little_is_noise_however_large_a_part_it_is():
    assert worse(told(p50_ms=9.0), told(p50_ms=4.0), NOISE) == []
    assert worse(told(p50_ms=9.1), told(p50_ms=4.0), NOISE) == ["all p50: 9.1 ms, was 4"]


def test_a_lower_knee_is_worse():
    before = told(knee={"per_second": 100.0})
    assert worse(told(knee={"per_second": 90.0}), before, NOISE) == []
    assert worse(told(knee={"per_second": 89.0}), before, NOISE) == ["knee: 89 requests/s, was 100"]


def test_what_one_of_them_does_not_tell_is_not_compared():
    new = told(memory=None, p99_ms=None)
    new["requests"]["large"] = FIGURES
    assert worse(new, told(knee={"per_second": 1.0}), NOISE) == []


def test_it_is_kept_by_machine_and_shape(tmp_path):
    path = path_of(tmp_path, "peak", "AMD EPYC, 2 cores")
    assert path.parent.parent == tmp_path / "baselines"
    assert path.parent.name.endswith("amd-epyc-2-cores")
    assert read(path) is None
    save(path, told())
    assert read(path) == told()
    assert path != path_of(tmp_path, "peak", "AMD EPYC, 16 cores")
    assert path_of(tmp_path, "peak-http://there:8000", "one").name == "peak-http-there-8000.json"
