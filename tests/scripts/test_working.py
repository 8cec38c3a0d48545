import threading

import pytest

from scripts.rehearsal.working import Working


def test_all_work_at_once_until_the_block_ends():
    together, ended = threading.Barrier(4), []

    def work():
        together.wait(30)
        working.over.wait(30)
        ended.append(1)

    with (working := Working([work] * 3, 30)):
        together.wait(30)
        assert ended == []
    assert ended == [1, 1, 1]


def test_they_end_as_well_where_the_block_fails():
    ended = threading.Event()

    def work():
        working.over.wait(30)
        ended.set()

    with pytest.raises(ZeroDivisionError), (working := Working([work], 30)):
        raise ZeroDivisionError
    assert ended.is_set()


def test_one_that_hangs_is_not_waited_for():
    hanging, ended = threading.Event(), threading.Event()

    def work():
        hanging.wait(30)
        ended.set()

    with Working([work], 0.01):
        pass
    assert not ended.is_set()
    hanging.set()
