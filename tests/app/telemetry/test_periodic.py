import asyncio
import threading

import pytest

from app.telemetry.periodic import run_periodically
from tests.waiting import PATIENT_S


async def _until(done, seconds, work):
    task = asyncio.create_task(run_periodically(seconds, work, "the work"))
    await asyncio.wait_for(asyncio.to_thread(done.wait, PATIENT_S), 2 * PATIENT_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_work_that_fails_is_logged_and_done_again_elsewhere_than_in_the_loop(caplog):
    done, threads = threading.Event(), []

    def work():
        threads.append(threading.get_ident())
        if len(threads) == 3:
            done.set()
        raise RuntimeError("no")

    asyncio.run(_until(done, 0.001, work))
    assert threading.get_ident() not in threads
    assert caplog.messages[:2] == ["the work failed"] * 2


def test_it_begins_at_once_and_waits_before_it_goes_on():
    done, times = threading.Event(), []

    def work():
        times.append(1)
        done.set()

    asyncio.run(_until(done, 3600, work))
    assert times == [1]
