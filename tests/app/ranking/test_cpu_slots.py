import threading
import time

import pytest

from app.ranking.cpu_slots import CpuSlots
from tests.waiting import PATIENT_S, eventually


def test_no_more_compute_at_once_than_there_are_processors():
    slots = CpuSlots(2)
    inside, most, go = [], [], threading.Semaphore(0)

    def work() -> None:
        with slots.slot():
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
    slots = CpuSlots(processors)
    for items in ([], [3], range(50)):
        with slots.slot():
            assert slots.map(lambda x: x * x, items) == [x * x for x in items]


def test_idle_processors_help_and_busy_ones_do_not():
    slots = CpuSlots(3)
    barrier = threading.Barrier(3)

    def names() -> set[str]:
        return set(slots.map(lambda _: (time.sleep(0.005), threading.current_thread().name)[1], range(30)))

    with slots.slot():
        slots.map(lambda _: barrier.wait(PATIENT_S), range(3))  # passes only if three are inside at once
        with slots.slot(), slots.slot():
            assert names() == {threading.current_thread().name}


def test_an_error_comes_out_and_the_processors_are_given_back():
    slots = CpuSlots(2)
    for _ in range(5):
        with slots.slot(), pytest.raises(ZeroDivisionError):
            slots.map(lambda x: 1 // x, [1, 0, 0, 1])
    with slots.slot(), slots.slot():
        pass


def test_callers_take_turns_however_many_threads_each_has():
    slots, order, started = CpuSlots(1), [], []

    def work(caller: str) -> None:
        started.append(caller)
        with slots.slot(caller):
            order.append(caller)

    callers = ["greedy"] * 6 + ["other", "other", "third"]
    threads = []
    with slots.slot():
        for number, caller in enumerate(callers, start=1):
            threads.append(threading.Thread(target=work, args=(caller,)))
            threads[-1].start()
            eventually(lambda number=number: slots.waiting == number)  # one after the other
    for thread in threads:
        thread.join(10)
    assert order == ["greedy", "other", "third", "greedy", "other", *["greedy"] * 4]
