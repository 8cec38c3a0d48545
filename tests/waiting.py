"""How tests wait: for a condition, never for a fixed time, and by a clock of their own where time itself matters.

The limits here are only reached when the code is wrong, so they are generous: a machine that is busy with other work
must not fail a test.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENT_S = 120  # for what happens at once on a quiet machine


def eventually(holds: Callable[[], T], within_s: float = PATIENT_S) -> T:
    """Wait until this is true, and return what it gave."""
    end = time.perf_counter() + within_s
    while not (found := holds()):
        assert time.perf_counter() < end, f"it did not become true within {within_s} s"
        time.sleep(0.005)
    return found


async def soon(holds: Callable[[], T]) -> T:
    """The same on an event loop, which goes on meanwhile."""
    async with asyncio.timeout(PATIENT_S):
        while not (found := holds()):  # noqa: ASYNC110 - other threads, too, make it true
            await asyncio.sleep(0.001)
    return found


class Clock:
    """A clock that moves only when a test moves it."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        """now: in seconds."""
        self.now = now

    def __call__(self) -> float:
        return self.now
