"""Graceful shutdown: on SIGTERM the service reports not ready but keeps serving; after a delay the server stops."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from app.engine.engine import Engine


@contextmanager
def drained(engine: Engine, seconds: float) -> Iterator[None]:
    """Within the block, SIGTERM drains the engine, and reaches the server `seconds` later; a second SIGTERM at once.

    Meanwhile load balancers see `/health/ready` fail and send requests elsewhere, and each connection is closed after
    its next response. No effect outside the main thread, or if the server does not handle SIGTERM.
    """
    in_main = threading.current_thread() is threading.main_thread()
    stop = signal.getsignal(signal.SIGTERM) if in_main else None
    if not callable(stop):
        yield
        return
    loop = asyncio.get_running_loop()

    def handle_sigterm(number: int, frame: FrameType | None) -> None:
        if seconds and not engine.stops:
            engine.drain()
            loop.call_soon_threadsafe(loop.call_later, seconds, stop, number, None)
        else:
            stop(number, frame)

    signal.signal(signal.SIGTERM, handle_sigterm)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, stop)
