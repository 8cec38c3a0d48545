import asyncio
import time

from app.telemetry.loop_lag import watch_loop


def test_what_holds_the_loop_up_is_seen():
    async def story() -> list[float]:
        seen: list[float] = []
        task = asyncio.create_task(watch_loop(seen.append))
        await asyncio.sleep(0.1)
        time.sleep(0.2)  # noqa: ASYNC251 - the fault that is looked for
        await asyncio.sleep(0.1)
        task.cancel()
        return seen

    seen = asyncio.run(story())
    assert min(seen) >= 0
    assert 0.1 < max(seen) < 1
