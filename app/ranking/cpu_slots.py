"""CPU slots: as many threads compute at once as there are processors, callers take turns, idle processors help."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class CpuSlots:
    """Lets as many threads compute at once as there are processors; to wait is cheaper than to interrupt each other.

    A free processor goes to the next caller in turn, and within a caller to the thread that came first. So a caller
    with many threads waits as long for each slot as a caller with one.
    """

    def __init__(self, processors: int) -> None:
        """Take the number of processors, at least 1."""
        self._processors = self._free = processors
        self._lock = threading.Lock()  # guards the free ones and what waits
        self._waiting: dict[str, deque[threading.Event]] = {}  # by caller, the next caller first
        self._helpers = ThreadPoolExecutor(processors, thread_name_prefix="helper")

    @property
    def waiting(self) -> int:
        """Threads that wait for a processor."""
        with self._lock:
            return sum(map(len, self._waiting.values()))

    @contextmanager
    def slot(self, caller: str = "") -> Iterator[None]:
        """Wait for a processor, and hold it within the block."""
        with self._lock:
            turn = None if self._free else self._enqueue(caller)
            self._free -= turn is None
        if turn:
            turn.wait()
        try:
            yield
        finally:
            self._release()

    def _enqueue(self, caller: str) -> threading.Event:
        """What is set when it is the turn of this thread."""
        turn = threading.Event()
        self._waiting.setdefault(caller, deque()).append(turn)
        return turn

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Like the built-in `map`, within a slot: computed on this processor and on those that are idle now."""
        waiting = list(enumerate(items))[::-1]
        done: dict[int, R] = {}

        def take() -> None:
            while True:
                try:
                    at, item = waiting.pop()
                except IndexError:
                    return
                done[at] = work(item)

        helpers = [self._helpers.submit(take) for _ in range(self._borrow(len(waiting) - 1))]
        try:
            take()
        finally:
            wait(helpers)
            for _ in helpers:
                self._release()
        for helper in helpers:
            helper.result()
        return [done[at] for at in range(len(done))]

    def _borrow(self, most: int) -> int:
        with self._lock:
            borrowed = max(0, min(most, self._processors - 1, self._free))
            self._free -= borrowed
            return borrowed

    def _release(self) -> None:
        with self._lock:
            if self._waiting:
                self._hand_over()
            else:
                self._free += 1

    def _hand_over(self) -> None:
        """Give a processor to the next caller's next thread."""
        caller = next(iter(self._waiting))
        threads = self._waiting.pop(caller)
        threads.popleft().set()
        if threads:
            self._waiting[caller] = threads  # behind the other callers
