"""CPU slots: as many threads compute at once as there are processors, and callers take turns."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class CpuSlots:
    """Lets as many threads compute at once as there are processors; to wait is cheaper than to interrupt each other.

    A free processor goes to the next caller in turn, and within a caller to the thread that came first. So a caller
    with many threads waits as long for each slot as a caller with one.
    """

    def __init__(self, processors: int) -> None:
        """Take the number of processors; ValueError unless it is a whole one, 1 or more: a half is never used up."""
        if processors < 1 or processors % 1:
            raise ValueError(f"a whole number of processors must compute, at least one; got {processors}")
        self._free = processors
        self._lock = threading.Lock()  # guards the free ones and what waits
        self._waiting: dict[str, deque[threading.Event]] = {}  # by caller, the next caller first

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
