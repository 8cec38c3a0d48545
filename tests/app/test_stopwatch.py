import pytest

from app.stopwatch import Stopwatch


def test_stages_add_up_and_errors_pass_through():
    watch = Stopwatch()
    with watch("a"):
        pass
    first = watch.ms["a"]
    with pytest.raises(ZeroDivisionError), watch("a"):
        raise ZeroDivisionError
    assert watch.ms["a"] > first >= 0
    assert list(watch.ms) == ["a"]
