import threading
import time

import pytest

from app.ranking.cpu_slots import Turns
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


def test_callers_take_turns_however_many_threads_each_has():
    turns, order, started = Turns(1), [], []

    def work(caller: str) -> None:
        started.append(caller)
        with turns.turn(caller):
            order.append(caller)

    callers = ["greedy"] * 6 + ["other", "other", "third"]
    threads = []
    with turns.turn():
        for number, caller in enumerate(callers, start=1):
            threads.append(threading.Thread(target=work, args=(caller,)))
            threads[-1].start()
            eventually(lambda number=number: turns.waiting == number)  # one after the other
    for thread in threads:
        thread.join(10)
    assert order == ["greedy", "other", "third", "greedy", "other", *["greedy"] * 4]
