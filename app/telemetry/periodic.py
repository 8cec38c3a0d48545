"""Periodic work in a thread."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)


async def run_periodically(seconds: float, work: Callable[[], object], what: str) -> None:
    """Call `work` in a thread now, and again after every pause. Runs until cancelled; failures are logged.

    Args:
        seconds: The pause between the end of one call and the start of the next.
        work: The work; it may block.
        what: Its name in the log, such as "verifying the collections".
    """
    while True:
        try:
            await asyncio.to_thread(work)
        except Exception:  # worker boundary: the next call may succeed
            log.exception("%s failed", what)
        await asyncio.sleep(seconds)
