import threading

import pytest

from scripts.rehearsal.working import Working
from tests.waiting import PATIENT_S


def test_all_work_at_once_until_the_block_ends():
    together, ended = threading.Barrier(4), []

    def work():
        together.wait(PATIENT_S)
        working.over.wait(PATIENT_S)
        ended.append(1)

    with (working := Working([work] * 3, PATIENT_S)):
        together.wait(PATIENT_S)
        assert ended == []
    assert ended == [1, 1, 1]


def test_they_end_as_well_where_the_block_fails():
    ended = threading.Event()

    def work():
        working.over.wait(PATIENT_S)
        ended.set()

    with pytest.raises(ZeroDivisionError), (working := Working([work], PATIENT_S)):
        raise ZeroDivisionError
    assert ended.is_set()


def test_one_that_hangs_is_not_waited_for():
    hanging, ended = threading.Event(), threading.Event()

    def work():
        hanging.wait(PATIENT_S)
        ended.set()

    with Working([work], 0.01):
        pass
    assert not ended.is_set()
    hanging.set()
