import threading
import time

import pytest

from app.turns import Turns
from tests.waiting import PATIENT_S, eventually


def test_no_more_compute_at_once_than_there_are_processors():
    turns = Turns(2)
    inside, most, go = [], [], threading.Semaphore(0)

    def work() -> None:
        with turns.turn():
            inside.append(1)
            most.append(len(inside))
            assert go.acquire(timeout=PATIENT_S)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for done in range(12):
        eventually(lambda done=done: len(most) == min(done + 2, 12))
        go.release()
    for thread in threads:
        thread.join(PATIENT_S)
    assert max(most) == 2


@pytest.mark.parametrize("processors", [1, 2, 4])
def test_map_is_map(processors):
    turns = Turns(processors)
    for items in ([], [3], range(50)):
        with turns.turn():
            assert turns.map(lambda x: x * x, items) == [x * x for x in items]


def test_idle_processors_help_and_busy_ones_do_not():
    turns = Turns(3)
    barrier = threading.Barrier(3)

    def names() -> set[str]:
        return set(turns.map(lambda _: (time.sleep(0.005), threading.current_thread().name)[1], range(30)))

    with turns.turn():
        turns.map(lambda _: barrier.wait(PATIENT_S), range(3))  # passes only if three are inside at once
        with turns.turn(), turns.turn():
            assert names() == {threading.current_thread().name}


def test_an_error_comes_out_and_the_processors_are_given_back():
    turns = Turns(2)
    for _ in range(5):
        with turns.turn(), pytest.raises(ZeroDivisionError):
            turns.map(lambda x: 1 // x, [1, 0, 0, 1])
    with turns.turn(), turns.turn():
        pass
