import threading

import pytest

from app.ranking.cpu_slots import CpuSlots
from tests.waiting import PATIENT_S, eventually


@pytest.mark.parametrize("processors", [0, -1, 0.5, 1.5])
def test_less_than_a_processor_would_be_waited_for_for_ever_and_half_of_one_never_used_up(processors):
    with pytest.raises(ValueError, match="a whole number of processors"):
        CpuSlots(processors)


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
        thread.join(PATIENT_S)
    assert order == ["greedy", "other", "third", "greedy", "other", *["greedy"] * 4]
