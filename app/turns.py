"""Who computes when: as many threads at once as there are processors, and idle processors help."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Turns:
    """Lets so many threads compute at once; the others wait, which is cheaper than interrupting each other."""

    def __init__(self, processors: int) -> None:
        """processors: at least 1."""
        self._processors = processors
        self._free = threading.Semaphore(processors)
        self._helpers = ThreadPoolExecutor(processors, thread_name_prefix="helper")

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a processor, and have it for the block."""
        with self._free:
            yield

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """What `map` gives, in order; within a turn, computed on this processor and on those that are idle now."""
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
                self._free.release()
        for helper in helpers:
            helper.result()
        return [done[at] for at in range(len(done))]

    def _borrow(self, most: int) -> int:
        borrowed = 0
        while borrowed < min(most, self._processors - 1) and self._free.acquire(blocking=False):
            borrowed += 1
        return borrowed
