"""Passes reports from work in another thread to one reader on the event loop.

If the reader is slower than the work, outdated reports are dropped: the queue holds the first and the newest one.
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
    """Run the work within the block; leaving the block cancels it.

    Args:
        work: Receives a function that it reports with, from any one thread. Its result is the last report.
        deadline: The work's deadline, which is cancelled on exit.
        failed: Converts the work's error into the last report.
    """
    reports = Reports(failed)
    task = asyncio.create_task(work(reports.put))
    task.add_done_callback(reports.end)
    try:
        yield reports
    finally:
        deadline.cancel()
        await asyncio.wait([task])  # the task ends soon, and before the block does


class Reports(Generic[T]):
    """A queue of the first report, the newest one since, and the last; an asynchronous iterator over them."""

    def __init__(self, failed: Callable[[Exception], T]) -> None:
        """Must be called on the reader's event loop. failed: converts an error into a report."""
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._first: deque[T] = deque(maxlen=1)
        self._newest: deque[T] = deque(maxlen=1)  # a newer report replaces an older one
        self._failure: Exception | None = None
        self._begun = self._ended = False
        self._changed = asyncio.Event()

    def put(self, report: T) -> None:
        """Add a report, from any thread."""
        self._loop.call_soon_threadsafe(self._keep, report)

    def end(self, work: asyncio.Future[T]) -> None:
        """Add the work's result or error, after all earlier reports: the loop runs callbacks in order."""
        error = None if work.cancelled() else work.exception()
        self._ended = True
        if isinstance(error, Exception):
            self._failure = None if isinstance(error, Cancelled) else error
        elif not work.cancelled():
            self._keep(work.result())
        self._changed.set()

    def _keep(self, report: T) -> None:
        (self._newest if self._begun else self._first).append(report)
        self._begun = True
        self._changed.set()

    @property
    def _waiting(self) -> bool:
        return bool(self._first or self._newest or self._failure)

    @property
    def over(self) -> bool:
        """Whether the work has ended and all reports are taken."""
        return self._ended and not self._waiting

    async def begin(self) -> bool:
        """Wait for the first report; False if the work was cancelled. Raises the work's error if it came first."""
        more = await self.more()
        if self._failure and not self._begun:
            raise self._failure
        return more

    async def more(self) -> bool:
        """Wait until there is a report to take; False if there will be none."""
        while not self._waiting:
            if self._ended:
                return False
            self._changed.clear()
            await self._changed.wait()
        return True

    def take(self) -> T:
        """Take the next report, which must exist."""
        if self._failure and not (self._first or self._newest):
            error, self._failure = self._failure, None
            return self._failed(error)
        return (self._first or self._newest).popleft()

    def __aiter__(self) -> Reports[T]:
        """Itself: each report is read once."""
        return self

    async def __anext__(self) -> T:
        """The next report."""
        if not await self.more():
            raise StopAsyncIteration
        return self.take()
