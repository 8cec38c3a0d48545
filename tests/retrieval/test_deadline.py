import time

import pytest

from retrieval.deadline import Cancelled, Deadline


def test_a_deadline_may_be_called_off():
    deadline = Deadline()
    assert deadline.at == float("inf")
    deadline.check()
    deadline.cancel()
    with pytest.raises(Cancelled):
        deadline.check()


def test_after_counts_from_now():
    assert 9 < Deadline.after(10).at - time.monotonic() <= 10


def test_a_share_of_the_time_left_ends_between_now_and_the_deadline():
    assert Deadline.after(100).share(0.25) - time.monotonic() == pytest.approx(25, abs=1)
    assert Deadline().share(0.25) == float("inf")
    assert Deadline(0.0).share(0.25) < time.monotonic()
