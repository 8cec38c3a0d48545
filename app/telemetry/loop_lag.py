"""How late the event loop is: the time that other requests' handling holds up every answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_EVERY_S = 0.02


async def watch_loop(observe: Callable[[float], None]) -> None:
    """Report, fifty times a second, how many seconds later than asked the loop turned to this task. Ends by cancel."""
    clock = asyncio.get_running_loop().time
    while True:
        asked = clock() + _EVERY_S
        await asyncio.sleep(_EVERY_S)
        observe(max(0.0, clock() - asked))
