"""Probes: cached results, slow runs and failing runs."""

import asyncio
import gc
import threading

import pytest

from app.health.probe import Probe
from tests.waiting import PATIENT_S, soon


class Thing:
    """A check that a test can block or make fail."""

    def __init__(self) -> None:
        self.looks = 0
        self.error: BaseException | None = None
        self.free = threading.Event()
        self.free.set()

    def look(self) -> None:
        self.looks += 1
        assert self.free.wait(PATIENT_S)
        if self.error:
            raise self.error


@pytest.fixture
def thing():
    made = Thing()
    yield made
    made.free.set()


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """From now on callers wait for the end of a run, however busy the machine is."""

    def wait():
        monkeypatch.setattr("app.health.probe._PATIENCE_S", PATIENT_S)

    wait()
    return wait


@pytest.fixture
def hold_up(thing, monkeypatch):
    """From now on a run blocks until `thing.free` is set, and callers do not wait for it."""

    def hold():
        thing.free.clear()
        monkeypatch.setattr("app.health.probe._PATIENCE_S", 0)

    return hold


def asked(probe: Probe, times: int = 1) -> list[str | None]:
    """The results of concurrent calls to `wrong`."""

    async def ask() -> list[str | None]:
        return await asyncio.gather(*(probe.wrong() for _ in range(times)))

    return asyncio.run(ask())


def test_one_look_answers_all_who_ask_within_its_time(thing):
    probe = Probe("a look", thing.look, every_s=3600)
    assert asked(probe, 50) == [None] * 50
    assert asked(probe) == [None]
    assert thing.looks == 1
    assert probe.last.fault is None
    assert probe.last.seconds >= 0


def test_what_is_wrong_is_said_and_mends(thing):
    probe = Probe("a look", thing.look, every_s=0)
    thing.error = OSError("no such thing")
    assert asked(probe) == ["a look failed: OSError: no such thing"]
    fault = probe.last_fault
    assert fault.text == probe.known()
    thing.error = None
    assert asked(probe) == [None]
    assert probe.last_fault is fault, "the last error is remembered"


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt(), MemoryError()])
def test_whatever_is_raised_is_what_is_wrong(thing, error):
    probe = Probe("a look", thing.look, every_s=0)
    thing.error = error
    assert asked(probe) == [f"a look failed: {type(error).__name__}"]


def test_while_a_look_takes_its_time_the_last_one_counts_until_it_is_overdue(thing, hold_up, patient, monotonic):
    probe = Probe("a look", thing.look, every_s=0, deadline_s=0.2)
    assert asked(probe) == [None]
    hold_up()
    assert asked(probe, 3) == [None] * 3
    monotonic.now += 0.15
    assert asked(probe) == [None], "it has still time"
    monotonic.now += 0.15
    assert asked(probe) == ["a look has taken 300 ms, and 200 ms are allowed"]
    running = probe._running
    thing.free.set()
    running.result(PATIENT_S)
    assert thing.looks == 2, "nobody piles up behind it"
    assert probe.known() == "a look took 300 ms, and 200 ms are allowed", "it ended, but too late"
    patient()
    assert asked(probe) == [None]


def test_a_first_look_that_takes_long_is_no_answer(thing, hold_up):
    probe = Probe("a look", thing.look, every_s=0)
    hold_up()
    assert asked(probe) == ["a look is running for the first time"]
    running = probe._running
    thing.free.set()
    running.result(PATIENT_S)
    assert probe.known() is None


def test_whoever_leaves_cancels_nothing(thing):
    probe = Probe("a look", thing.look, every_s=3600)
    thing.free.clear()

    async def leave() -> None:
        task = asyncio.create_task(probe.wrong())
        await soon(lambda: thing.looks)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(leave())
    running = probe._running
    thing.free.set()
    running.result(PATIENT_S)
    assert asked(probe) == [None]
    assert thing.looks == 1


def test_whoever_asks_while_a_look_hangs_leaves_nothing_behind(thing, hold_up):
    probe = Probe("a look", thing.look, every_s=0, deadline_s=0.001)
    hold_up()

    async def ask_often() -> int:
        before = len(gc.get_objects())
        for _ in range(1000):
            await probe.wrong()
        return len(gc.get_objects()) - before

    assert asyncio.run(ask_often()) < 500


def test_a_look_for_which_there_is_no_thread_is_tried_again(thing, monkeypatch):
    probe = Probe("a look", thing.look, every_s=0)

    def start(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full, pytest.raises(RuntimeError):
        full.setattr(threading.Thread, "start", start)
        asked(probe)
    assert asked(probe) == [None]
