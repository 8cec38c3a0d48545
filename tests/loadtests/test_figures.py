import pytest

from loadtests.figures import Figures, by_kind, figures, knee, memory, recovery_s, within
from loadtests.run import Mark, Run, Sample
from tests.loadtests.made_up import steady, stress


def answers(*ms):
    return [Sample(0.0, "small", each, "ok") for each in ms]


def test_percentiles_are_of_the_nearest_rank():
    found = figures(answers(*range(100, 0, -1)), 10.0)
    assert (found.p50_ms, found.p95_ms, found.p99_ms) == (50, 95, 99)
    assert (found.requests, found.per_second) == (100, 10.0)


def test_times_are_of_what_was_answered():
    samples = [
        Sample(0, "a", 10, "ok"),
        Sample(0, "a", 30, "cut"),
        Sample(0, "a", 1, "refused"),
        Sample(0, "a", 2, "failed"),
    ]
    found = figures(samples, 2.0)
    assert found == Figures(4, 1, 1, 1, 1.0, 10, 30, 30)
    assert found.lost_percent == 50


def test_nothing_answered_is_too_much():
    assert figures([], 1.0).p95_ms is None
    assert figures([], 1.0).too_much
    assert figures([Sample(0, "a", 1, "refused")], 1.0).too_much


@pytest.mark.parametrize(("ms", "too_much"), [(500, False), (500.01, True)])
def test_slow_is_too_much(ms, too_much):
    assert figures(answers(*[ms] * 100), 1.0).too_much is too_much


@pytest.mark.parametrize(("lost", "too_much"), [(0, False), (1, False), (2, True)])
@pytest.mark.parametrize("outcome", ["refused", "failed"])
def test_losing_one_per_cent_is_too_much(lost, too_much, outcome):
    samples = answers(*[1.0] * (200 - lost)) + [Sample(0, "a", 1, outcome)] * lost
    assert figures(samples, 1.0).too_much is too_much


def test_a_window_holds_what_was_sent_in_it():
    run = Run("normal", 0.0, 10.0, steady(0, 10, 10, 5.0))
    assert within(run, 2.0, 4.0).requests == 20
    assert within(run, 2.0, 4.0).per_second == pytest.approx(10)


def test_each_kind_has_its_figures_and_all_together():
    run = Run("normal", 0.0, 10.0, steady(0, 10, 3, 5.0) + steady(0, 10, 1, 9.0, kind="large"))
    found = by_kind(run)
    assert {kind: each.requests for kind, each in found.items()} == {"large": 10, "small": 30, "all": 40}
    assert found["large"].p50_ms == 9


def test_the_knee_is_the_last_step_that_held():
    found = knee(stress(), settling_s=4.0)
    assert (found.users, found.per_second, found.p95_ms) == (60, pytest.approx(60), 100.0)
    assert (found.broken_at, found.broken_p95_ms, found.broken_lost_percent) == (70, 900.0, 0.0)


def test_the_first_seconds_of_a_step_do_not_count():
    run = stress()
    run.samples += steady(10, 12, 500, 2000.0)
    assert knee(run, settling_s=2.0).users == 60
    assert knee(run, settling_s=1.0).users == 50


def test_no_knee():
    assert knee(stress(steps=(50,)), 4.0) is None
    found = knee(stress(broken_ms=100.0), 4.0)
    assert (found.users, found.broken_at) == (70, None)


@pytest.mark.parametrize("later", [0, 3, 25])
def test_recovery_is_when_all_that_is_sent_is_answered_as_it_should_be(later):
    assert recovery_s(stress(calm_after=float(later))) == later


def test_a_few_slow_answers_are_no_relapse():
    run = stress(calm_after=3.0)
    run.samples += steady(54.0, 54.2, 50, 900.0)
    assert recovery_s(run) == 3


def test_no_recovery_within_the_run():
    assert recovery_s(stress(calm_after=26.0)) is None


def test_who_was_never_gone_is_back():
    assert recovery_s(Run("normal", 0.0, 10.0, steady(0, 10, 10, 900.0), [Mark(0.0, 50, False)])) == 0


def test_memory_grows_by_the_slope_after_its_first_part():
    filling = [(float(at), 100.0 + at) for at in range(50)]
    flat = [(float(at), 150.0 + 0.01 * at) for at in range(50, 101)]
    found = memory(filling + flat)
    assert (found.first, found.last, found.most) == (100.0, 151.0, 151.0)
    assert found.growth_per_hour == pytest.approx(36)


def test_noise_is_not_growth():
    assert memory([(float(at), 200.0 + at % 2) for at in range(1201)]).growth_per_hour == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("series", [[], [(0.0, 1.0)], [(0.0, 1.0), (1.0, 1.0)], [(5.0, 1.0)] * 4])
def test_too_few_readings_tell_nothing(series):
    assert memory(series) is None
