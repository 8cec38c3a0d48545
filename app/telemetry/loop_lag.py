"""Event loop lag: the delay that blocking work on the loop adds to every response."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_EVERY_S = 0.02


async def watch_loop(observe: Callable[[float], None]) -> None:
    """Measure fifty times a second by how many seconds the loop wakes this task late. Runs until cancelled."""
    clock = asyncio.get_running_loop().time
    while True:
        due = clock() + _EVERY_S
        await asyncio.sleep(_EVERY_S)
        observe(max(0.0, clock() - due))
