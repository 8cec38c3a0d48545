import asyncio
import time

from app.telemetry.loop_lag import watch_loop
from tests.waiting import soon


def test_what_holds_the_loop_up_is_seen():
    async def story() -> list[float]:
        seen: list[float] = []
        task = asyncio.create_task(watch_loop(seen.append))
        await soon(lambda: seen)
        seen.clear()
        since = time.monotonic()
        time.sleep(0.2)  # noqa: ASYNC251 - the fault that is looked for
        await soon(lambda: seen)
        took = time.monotonic() - since
        task.cancel()
        assert 0.1 < seen[0] <= took
        return seen

    assert min(asyncio.run(story())) >= 0
