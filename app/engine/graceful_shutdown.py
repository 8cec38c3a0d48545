"""SIGTERM: first the service says that it is not ready, and goes on serving; only then the server stops."""

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
    """Within the block SIGTERM reaches the server so much later than the engine; a second one at once.

    Meanwhile whoever sends requests here sees `/health/ready` and sends them elsewhere, and connections are given up
    one by one, with an answer. Does nothing but in the main thread, and where the server handles no SIGTERM.
    """
    in_main = threading.current_thread() is threading.main_thread()
    stop = signal.getsignal(signal.SIGTERM) if in_main else None
    if not callable(stop):
        yield
        return
    loop = asyncio.get_running_loop()

    def begin(number: int, frame: FrameType | None) -> None:
        if seconds and not engine.stops:
            engine.drain()
            loop.call_soon_threadsafe(loop.call_later, seconds, stop, number, None)
        else:
            stop(number, frame)

    signal.signal(signal.SIGTERM, begin)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, stop)
