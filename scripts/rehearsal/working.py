"""Threads that work for as long as a block lasts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self


class Working:
    """Each piece of work in a thread, from entering the block to leaving it; whatever it is looks at `over`."""

    def __init__(self, works: Iterable[Callable[[], None]], ends_within_s: float) -> None:
        """ends_within_s: how long each may take to end, once it is over."""
        self.over = threading.Event()
        self._ends_within_s = ends_within_s
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Begin nothing more; what is under way comes to its end first."""
        self.over.set()
        for thread in self._threads:
            thread.join(self._ends_within_s)
