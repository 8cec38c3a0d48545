import io

import orjson
from rich.console import Console

from loadtests.figures import Knee, by_kind, memory
from loadtests.report import describe_knee, report, show
from loadtests.run import Mark, Run, read
from loadtests.thresholds import bounds_of, judge
from tests.loadtests.made_up import steady, stress

BOUNDS = bounds_of("normal")


def normal(**changed):
    run = Run("normal", 0.0, 10.0, steady(0, 10, 50, 20.0), [Mark(0.0, 50, False)], [(0.0, 0), (1.0, 50)])
    run.memory = [(float(at), 500.0) for at in range(10)]
    for name, value in changed.items():
        setattr(run, name, value)
    return run


def printed(run):
    text = io.StringIO()
    checks = judge(run, by_kind(run)["all"], memory(run.memory), bounds_of(run.shape))
    show(Console(file=text, width=100), run, checks)
    return text.getvalue()


def test_the_json_tells_everything():
    told = orjson.loads(orjson.dumps(report(normal(), BOUNDS, {"processor": "one"}, {"source": "made up"})))
    assert told["requests"]["all"] == told["requests"]["small"]
    assert told["requests"]["all"]["per_second"] == 50
    assert told["requests"]["all"]["p95_ms"] == 20
    assert (told["users"], told["seconds"], told["source"], told["machine"]) == (
        50,
        10,
        "made up",
        {"processor": "one"},
    )
    assert told["memory"]["most"] == 500
    assert len(told["memory"]["readings"]) == 10
    assert {check["name"] for check in told["thresholds"]} >= {"p50", "p95", "p99", "errors", "memory, most"}
    assert told["passed"] is True
    assert told["knee"] is told["recovery_s"] is None


def test_one_missed_threshold_fails_the_run():
    told = report(normal(samples=steady(0, 10, 39, 20.0)), BOUNDS, {}, {})
    assert [check["name"] for check in told["thresholds"] if not check["met"]] == ["requests/s"]
    assert told["passed"] is False


def test_a_stress_run_tells_its_knee_and_recovery():
    told = report(stress(), bounds_of("stress"), {}, {})
    assert (told["knee"]["users"], told["recovery_s"]) == (60, 3)
    text = printed(stress())
    assert "knee: 60 users, 60 requests/s, p95 100 ms; with 70 users p95 900 ms, 0.0 % not answered" in text
    assert "back to 50 users after 30 s: within the thresholds 3 s later" in text


def test_the_table_names_what_was_missed_and_why():
    run = normal(messages={"small: refused with 503": 3, "small: status 500: oh": 9})
    run.samples += steady(0, 1, 3, 1.0, "refused")
    text = printed(run)
    assert "MISSED" in next(line for line in text.splitlines() if line.startswith(" refusals"))
    assert text.index("9 × small: status 500: oh") < text.index("3 × small: refused with 503")


def test_a_knee_in_words():
    assert describe_knee(None).endswith("too many already")
    assert describe_knee(Knee(500, 300.0, 200.0, None)).endswith("more were not tried")
    assert "with 70 users none answered" in describe_knee(Knee(60, 60.0, 200.0, 70, None, 100.0))


def test_a_run_is_read_as_it_was_saved(tmp_path):
    run = stress()
    run.memory, run.users, run.messages = [(1.5, 500.0)], [(1.0, 50)], {"oh": 1}
    run.save(tmp_path / "run.json")
    assert read(tmp_path / "run.json") == run


def test_times_may_be_counted_from_the_start():
    run = Run("normal", 100.0, 110.0, steady(103, 104, 1, 5.0), [Mark(100.0, 50, False)], [(101.0, 50)])
    run.memory = [(102.0, 500.0)]
    counted = run.since_start()
    assert (counted.started, counted.ended, counted.seconds) == (0, 10, run.seconds)
    assert (counted.samples[0].at, counted.marks[0].at, counted.users, counted.memory) == (
        3,
        0,
        [(1, 50)],
        [(2, 500.0)],
    )
