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
