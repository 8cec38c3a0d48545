import asyncio
import threading
import weakref
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.service.streaming import follow
from retrieval.deadline import Cancelled, Deadline
from tests.waiting import PATIENT_S, eventually, soon


def in_thread(work):
    """Work for `follow` that runs `work(report)` in another thread."""
    return partial(asyncio.to_thread, work)


def told(work, deadline=None):
    return follow(in_thread(work), deadline or Deadline(), lambda error: f"failed: {error}")


@pytest.mark.parametrize("reports", [0, 1, 5])
def test_a_reader_that_keeps_up_misses_nothing(reports):
    taken = threading.Semaphore(1)

    def work(report):
        for number in range(reports):
            taken.acquire(timeout=PATIENT_S)
            report(number)
        taken.acquire(timeout=PATIENT_S)
        return reports

    async def story():
        async with told(work) as read:
            got = []
            async for report in read:
                got.append(report)
                taken.release()
            assert got == list(range(reports + 1))
            assert read.over
            assert not await read.more()

    asyncio.run(story())


def test_a_reader_that_comes_late_gets_the_first_and_the_last():
    async def story():
        async with told(lambda report: [report(number) for number in range(1000)] and "last") as read:
            await soon(lambda: read._ended)
            assert [report async for report in read] == [0, "last"]

    asyncio.run(story())


@given(st.lists(st.sampled_from(["report", "take"]), max_size=40))
def test_whatever_the_pace_first_and_last_arrive_in_order_and_no_more_than_two_wait(steps):
    async def story():
        said: list[int] = []
        got: list[int] = []
        ask: asyncio.Queue[str] = asyncio.Queue()

        async def work(report):
            while await ask.get() == "report":
                said.append(len(said))
                report(said[-1])
            said.append(len(said))
            return said[-1]

        async with follow(work, Deadline(), repr) as read:
            for step in [*steps, "end"]:
                if step != "take":
                    ask.put_nowait(step)
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                elif read._waiting:
                    got.append(read.take())
                    assert got[-1] in {0, said[-1]}  # the first, or the newest
                assert len(read._first) + len(read._newest) <= 2
            got += [report async for report in read]
        assert got[0] == 0
        assert got[-1] == said[-1]
        assert got == sorted(set(got))

    asyncio.run(story())


def test_what_no_reader_will_get_is_not_kept():
    class Big:
        pass

    alive: weakref.WeakSet[Big] = weakref.WeakSet()

    def work(report):
        for _ in range(50):
            big = Big()
            alive.add(big)
            report(big)
        del big

    async def story():
        async with told(work) as read:
            await soon(lambda: read._ended)
            assert len(alive) == 1  # the first; the result replaced the newest

    asyncio.run(story())


def test_an_error_reaches_the_reader_last():
    def work(report):
        report("first")
        raise ZeroDivisionError("oh")

    async def story():
        async with told(work) as read:
            assert await read.begin()
            assert [report async for report in read] == ["first", "failed: oh"]
            assert read.over

    asyncio.run(story())


def test_an_error_before_the_first_report_is_raised_to_who_begins():
    def work(report):
        raise ZeroDivisionError("oh")

    async def story():
        async with told(work) as read:
            with pytest.raises(ZeroDivisionError, match="oh"):
                await read.begin()

    asyncio.run(story())


def test_who_does_not_begin_gets_it_as_a_report():
    def work(report):
        raise ZeroDivisionError("oh")

    async def story():
        async with told(work) as read:
            assert [report async for report in read] == ["failed: oh"]

    asyncio.run(story())


def test_leaving_calls_the_work_off_and_waits_for_it():
    stopped = threading.Event()
    deadline = Deadline()

    def work(report):
        report("first")
        eventually(lambda: deadline.cancelled)
        stopped.set()
        deadline.check()

    async def story():
        async with told(work, deadline) as read:
            assert await read.begin()
        assert deadline.cancelled
        assert stopped.is_set()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(story())


def test_work_that_was_called_off_ends_without_a_last_report():
    def work(report):
        raise Cancelled("nobody waits")

    async def story():
        async with told(work) as read:
            assert not await read.begin()
            assert [report async for report in read] == []

    asyncio.run(story())


def test_a_reader_that_is_cancelled_leaves_nothing_behind():
    deadline, begun = Deadline(), threading.Event()

    def work(report):
        begun.set()
        eventually(lambda: deadline.cancelled)
        deadline.check()

    async def read():
        async with told(work, deadline) as reports:
            await reports.more()

    async def story():
        reader = asyncio.create_task(read())
        await soon(begun.is_set)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert deadline.cancelled
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(story())
