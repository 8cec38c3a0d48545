import pytest

from app.ranking.job import Stopwatch


def test_stages_add_up_and_errors_pass_through():
    watch = Stopwatch()
    with watch("a"):
        pass
    first = watch.ms["a"]
    with pytest.raises(ZeroDivisionError), watch("a"):
        raise ZeroDivisionError
    assert watch.ms["a"] > first >= 0
    assert list(watch.ms) == ["a"]


def test_laps_are_kept_in_the_order_of_their_ends():
    watch = Stopwatch()
    with watch("outer"), watch("inner"):
        pass
    inner, outer = watch.laps
    assert (inner.stage, outer.stage) == ("inner", "outer")
    assert outer.start <= inner.start
    assert inner.start + inner.seconds <= outer.start + outer.seconds
    assert watch.ms == {lap.stage: lap.seconds * 1e3 for lap in watch.laps}
