"""Health probes: run on request, at most every few seconds; the result is cached in between."""

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

_PATIENCE_S = 0.5  # a caller waits no longer than this, then gets the previous result


@dataclass(frozen=True)
class Look:
    """The result of one run of a probe."""

    over: float  # when it ended, in `time.monotonic()` seconds
    seconds: float  # its duration
    fault: Fault | None


class Probe:
    """Runs one check at a time in a thread of its own, so that queued requests cannot delay it. For one event loop.

    While a run is in progress, the previous result counts until the run exceeds its deadline.
    """

    def __init__(self, what: str, work: Callable[[], None], every_s: float, deadline_s: float = math.inf) -> None:
        """Create a probe that has not run yet.

        Args:
            what: The subject of its error messages, such as "a probe".
            work: The check: raises if it fails. It may block.
            every_s: The age in seconds beyond which a result is renewed.
            deadline_s: The duration in seconds beyond which a run counts as failed.
        """
        self._what, self._work, self._every_s, self._deadline_s = what, work, every_s, deadline_s
        self._running: Future[None] | None = None
        self._over: asyncio.Future[None] | None = None  # `_running` for the event loop; all callers await this one
        self._started_at = 0.0
        self.last: Look | None = None
        self.last_fault: Fault | None = None  # kept after the probe has recovered

    async def wrong(self) -> str | None:
        """The current error; None if the check passed. Starts a run if one is due, and waits briefly for its end."""
        if over := self._begin():
            timeout = _PATIENCE_S if self.last else min(self._deadline_s, 4 * _PATIENCE_S)
            await asyncio.wait([over], timeout=timeout)
        return self.known()

    def known(self) -> str | None:
        """The latest known error, without a new run. Before the first run has ended this is an error, too."""
        if self.last is None and not self.fails:
            return f"{self._what} is running for the first time"
        if self._overdue:
            return self._too_long("has taken", time.monotonic() - self._started_at)
        return self.last.fault.text if self.last and self.last.fault else None

    @property
    def fails(self) -> bool:
        """Whether the last run failed, or the current one exceeds its deadline."""
        return self._overdue or bool(self.last and self.last.fault)

    @property
    def _overdue(self) -> bool:
        running = self._running is not None and not self._running.done()
        return running and time.monotonic() - self._started_at > self._deadline_s

    def _begin(self) -> asyncio.Future[None] | None:
        """Start a run if one is due; return the future of the current run, or None if there is none."""
        if self._running and not self._running.done():
            return self._over
        if self.last and time.monotonic() - self.last.over < self._every_s:
            return None
        running, self._started_at = Future[None](), time.monotonic()
        running.set_running_or_notify_cancel()  # a caller that is cancelled does not cancel the run
        threading.Thread(target=self._run, args=[running], name="probe", daemon=True).start()
        # Set only now: if the thread cannot be started, the next caller tries again.
        self._running, self._over = running, asyncio.wrap_future(running)
        return self._over

    def _run(self, running: Future[None]) -> None:
        start = time.monotonic()
        fault = None
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - worker boundary: every exception is a failed check
            fault = Fault.now(f"{self._what} failed: {_text(error)}")
        seconds = time.monotonic() - start
        if fault is None and seconds > self._deadline_s:
            fault = Fault.now(self._too_long("took", seconds))
        self.last, self.last_fault = Look(time.monotonic(), seconds, fault), fault or self.last_fault
        running.set_result(None)

    def _too_long(self, verb: str, seconds: float) -> str:
        return f"{self._what} {verb} {1e3 * seconds:.0f} ms, and {1e3 * self._deadline_s:.0f} ms are allowed"


def _text(error: BaseException) -> str:
    """The error's message; errors of other libraries get their type's name, which their messages lack."""
    if isinstance(error, ServiceError | RetrievalError):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
