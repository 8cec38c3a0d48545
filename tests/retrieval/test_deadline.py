import pytest

from retrieval.deadline import Cancelled, Deadline


def test_a_deadline_may_be_called_off():
    deadline = Deadline()
    assert deadline.at == float("inf")
    deadline.check()
    deadline.cancel()
    with pytest.raises(Cancelled):
        deadline.check()


def test_after_counts_from_now(monotonic):
    assert Deadline.after(10).at == monotonic() + 10


def test_a_share_of_the_time_left_ends_between_now_and_the_deadline(monotonic):
    assert Deadline.after(100).share(0.25) == monotonic() + 25
    assert Deadline().share(0.25) == float("inf")
    assert Deadline(0.0).share(0.25) < monotonic()
