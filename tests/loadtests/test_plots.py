import pytest

from loadtests.plots import draw
from loadtests.run import Mark, Run
from tests.loadtests.made_up import steady, stress


def drawn(run, tmp_path):
    draw(run, tmp_path / "plots" / "run.svg")
    return (tmp_path / "plots" / "run.svg").read_text()


@pytest.fixture
def run():
    return Run(
        "normal",
        0.0,
        60.0,
        steady(0, 60, 50, 20.0),
        [Mark(0.0, 50, False)],
        [(0.0, 0), (1.0, 50)],
        memory=[(float(at), 500.0 + at / 100) for at in range(60)],
    )


def test_a_run_over_time(run, tmp_path):
    text = drawn(run, tmp_path)
    assert "normal: 50 users, 50 requests/s, p95 20 ms" in text
    assert "p99" in text


def test_what_was_refused_is_drawn(run, tmp_path):
    assert "refused or failed/s" not in drawn(run, tmp_path)
    run.samples += steady(0, 60, 1, 1.0, "refused")
    assert "refused or failed/s" in drawn(run, tmp_path)


def test_the_knee_and_the_recovery_are_marked(tmp_path):
    run = stress()
    run.users = [(float(at), 50) for at in range(60)]
    text = drawn(run, tmp_path)
    assert "knee: 60 users, 60/s" in text
    assert "back to 50, well 3 s later" in text


def test_a_soak_shows_its_memory(run, tmp_path):
    run.shape = "soak"
    assert "+36.0 MB/hour in the second half" in drawn(run, tmp_path)
