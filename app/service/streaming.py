"""What work in another thread reports, on its way to one reader on the event loop.

A reader that is slower than the work misses what is out of date by then: besides the first report only the newest
waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from retrieval.deadline import Cancelled, Deadline

T = TypeVar("T")
Report = Callable[[T], None]


@asynccontextmanager
async def follow(
    work: Callable[[Report[T]], Coroutine[Any, Any, T]], deadline: Deadline, failed: Callable[[Exception], T]
) -> AsyncIterator[Reports[T]]:
    """Within the block the work runs and its reports are there to be read; leaving the block calls it off.

    work: gets a function to report with, from any one thread; its result is the last report. failed: makes the last
    report of work that failed.
    """
    reports = Reports(failed)
    task = asyncio.create_task(work(reports.put))
    task.add_done_callback(reports.end)
    try:
        yield reports
    finally:
        deadline.cancel()
        await asyncio.wait([task])  # it ends soon: nothing outlives the block


class Reports(Generic[T]):
    """The first report, the newest of those since, and the last; an asynchronous iterator of what is left of them."""

    def __init__(self, failed: Callable[[Exception], T]) -> None:
        """Belongs to the event loop that runs now."""
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._first: deque[T] = deque(maxlen=1)
        self._newest: deque[T] = deque(maxlen=1)  # takes one more by dropping the one it has
        self._failure: Exception | None = None
        self._begun = self._ended = False
        self._news = asyncio.Event()

    def put(self, report: T) -> None:
        """Add a report, from any thread."""
        self._loop.call_soon_threadsafe(self._keep, report)

    def end(self, work: asyncio.Future[T]) -> None:
        """Add what the work ended with. What was put before came before: the loop calls in turn."""
        error = None if work.cancelled() else work.exception()
        self._ended = True
        if isinstance(error, Exception):
            self._failure = None if isinstance(error, Cancelled) else error
        elif not work.cancelled():
            self._keep(work.result())
        self._news.set()

    def _keep(self, report: T) -> None:
        (self._newest if self._begun else self._first).append(report)
        self._begun = True
        self._news.set()

    @property
    def _waiting(self) -> bool:
        return bool(self._first or self._newest or self._failure)

    @property
    def over(self) -> bool:
        """Whether the last report was taken, or none is to come."""
        return self._ended and not self._waiting

    async def begin(self) -> bool:
        """Wait for the first report; raise what the work raised before there was one; False if it was called off."""
        more = await self.more()
        if self._failure and not self._begun:
            raise self._failure
        return more

    async def more(self) -> bool:
        """Wait until there is a report to take; False when there will be none."""
        while not self._waiting:
            if self._ended:
                return False
            self._news.clear()
            await self._news.wait()
        return True

    def take(self) -> T:
        """The next of the reports that wait, of which there must be one."""
        if self._failure and not (self._first or self._newest):
            error, self._failure = self._failure, None
            return self._failed(error)
        return (self._first or self._newest).popleft()

    def __aiter__(self) -> Reports[T]:
        """Itself: a report is read once."""
        return self

    async def __anext__(self) -> T:
        """The next report."""
        if not await self.more():
            raise StopAsyncIteration
        return self.take()
