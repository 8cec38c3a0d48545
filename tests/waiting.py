"""How tests wait: for a condition, never for a fixed time; with a fake clock where time itself matters.

The limits are only reached if the code is wrong. They are generous, so that tests do not fail on a busy machine.
"""

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PATIENT_S = 120  # for what happens at once on an idle machine


def eventually(holds: Callable[[], T], within_s: float = PATIENT_S) -> T:
    """Wait until the condition is true; its value."""
    since = time.perf_counter()
    while not (value := holds()):
        waited = time.perf_counter() - since
        assert waited < within_s, f"it did not become true within {within_s} s"
        # Who waits long asks seldom: to ask takes processors from what is waited for.
        time.sleep(min(max(0.005, waited / 20), 0.1))
    return value


def try_to_remove(folder: Path) -> bool:
    """Remove a folder, and say whether it is gone: it is not if a service makes a file in it meanwhile."""
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


async def soon(holds: Callable[[], T]) -> T:
    """`eventually` for coroutines."""
    async with asyncio.timeout(PATIENT_S):
        while not (value := holds()):  # noqa: ASYNC110 - other threads may change it
            await asyncio.sleep(0.001)
    return value


class Clock:
    """A fake clock that a test advances."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        """now: in seconds."""
        self.now = now

    def __call__(self) -> float:
        return self.now
