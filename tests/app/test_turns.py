import threading
import time

import pytest

from app.turns import Turns


def test_no_more_compute_at_once_than_there_are_processors():
    turns = Turns(2)
    inside, most = [], []

    def work() -> None:
        with turns.turn():
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.005)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
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
        turns.map(lambda _: barrier.wait(10), range(3))  # passes only if three are inside at once
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
            while sum(map(len, turns._waiting.values())) < number:  # they wait in the order in which they came
                time.sleep(0.001)
    for thread in threads:
        thread.join(10)
    assert order == ["greedy", "other", "third", "greedy", "other", *["greedy"] * 4]
