"""How long each stage took."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Lap(NamedTuple):
    """One time that a stage was gone through."""

    stage: str
    start: float  # `time.perf_counter()` seconds
    seconds: float


def milliseconds(laps: Iterable[Lap]) -> dict[str, float]:
    """Milliseconds spent in each stage, summed where it came again, in the order of their ends."""
    ms: dict[str, float] = {}
    for stage, _, seconds in laps:
        ms[stage] = ms.get(stage, 0.0) + seconds * 1e3
    return ms


class Stopwatch:
    """The laps so far, in the order of their ends."""

    def __init__(self) -> None:
        """Nothing was gone through yet."""
        self.laps: list[Lap] = []

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the time of the block to this stage, also when it raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.since(stage, start)

    def since(self, stage: str, start: float) -> None:
        """Count the time since this `time.perf_counter()` to a stage."""
        self.laps.append(Lap(stage, start, time.perf_counter() - start))

    @property
    def ms(self) -> dict[str, float]:
        """Milliseconds spent in each stage."""
        return milliseconds(self.laps)
