"""Whether something works: looked at when somebody asks, at most every few seconds, and remembered between."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from app.errors import ServiceError
from retrieval.errors import Fault, RetrievalError

_PATIENCE_S = 0.5  # whoever asks is answered from the last time by then


@dataclass(frozen=True)
class Look:
    """One look."""

    over: float  # `time.monotonic()` seconds
    seconds: float  # that it took
    fault: Fault | None


class Probe:
    """Looks in a thread of its own, one at a time, so that no queue of requests can hold it up. For one event loop.

    While a look takes its time the one before it counts, until the deadline.
    """

    def __init__(self, what: str, work: Callable[[], None], every_s: float, deadline_s: float = math.inf) -> None:
        """what: as in "the probe took too long". work: raises what is wrong; it may block for as long as it likes."""
        self._what, self._work, self._every_s, self._deadline_s = what, work, every_s, deadline_s
        self._running: Future[None] | None = None
        self._over: asyncio.Future[None] | None = None  # the same; one for all, that those who leave are forgotten
        self._begun = 0.0
        self.last: Look | None = None
        self.last_fault: Fault | None = None  # that was ever met

    async def wrong(self) -> str | None:
        """What is wrong; None if nothing is. Waits for a look that is due, but not for long."""
        if over := self._begin():
            timeout = _PATIENCE_S if self.last else min(self._deadline_s, 4 * _PATIENCE_S)
            await asyncio.wait([over], timeout=timeout)
        return self.known()

    def known(self) -> str | None:
        """What is wrong as far as is known by now; before the first look is over nothing is sure."""
        if self.last is None and not self.fails:
            return f"{self._what} is under way for the first time"
        if self._overdue:
            return self._too_long("has taken", time.monotonic() - self._begun)
        return self.last.fault.text if self.last and self.last.fault else None

    @property
    def fails(self) -> bool:
        """Whether something is known to be wrong."""
        return self._overdue or bool(self.last and self.last.fault)

    @property
    def _overdue(self) -> bool:
        running = self._running is not None and not self._running.done()
        return running and time.monotonic() - self._begun > self._deadline_s

    def _begin(self) -> asyncio.Future[None] | None:
        """The end of the look that is under way, which begins now if it is time; None if there is none."""
        if self._running and not self._running.done():
            return self._over
        if self.last and time.monotonic() - self.last.over < self._every_s:
            return None
        running, self._begun = Future[None](), time.monotonic()
        running.set_running_or_notify_cancel()  # from now on nobody who leaves cancels it
        threading.Thread(target=self._look, args=[running], name="probe", daemon=True).start()
        # Only now: where there is no thread to be had, whoever asks next tries again.
        self._running, self._over = running, asyncio.wrap_future(running)
        return self._over

    def _look(self, running: Future[None]) -> None:
        begun = time.monotonic()
        fault = None
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - worker boundary: whatever it is, it is what is wrong
            fault = Fault.now(f"{self._what} failed: {_text(error)}")
        seconds = time.monotonic() - begun
        if fault is None and seconds > self._deadline_s:
            fault = Fault.now(self._too_long("took", seconds))
        self.last, self.last_fault = Look(time.monotonic(), seconds, fault), fault or self.last_fault
        running.set_result(None)

    def _too_long(self, verb: str, seconds: float) -> str:
        return f"{self._what} {verb} {1e3 * seconds:.0f} ms, and {1e3 * self._deadline_s:.0f} ms are allowed"


def _text(error: BaseException) -> str:
    """What it says; those that are not ours do not say what they are."""
    if isinstance(error, ServiceError | RetrievalError):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
