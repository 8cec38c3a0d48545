"""Work that is done in a thread again and again, for as long as the service runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)


async def run_periodically(seconds: float, work: Callable[[], object], what: str) -> None:
    """Work at once, then so many seconds after each end. Ends by cancel.

    what: it is, for the log: that it fails is told there and keeps it from nothing.
    """
    while True:
        try:
            await asyncio.to_thread(work)
        except Exception:  # worker boundary: what fails now may go well the next time
            log.exception("%s failed", what)
        await asyncio.sleep(seconds)
