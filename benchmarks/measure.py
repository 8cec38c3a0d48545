"""Samples of times, and what is said of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest of the values that at least this share of them does not exceed; of few values that is the largest.

    ValueError for no values or a share outside (0, 1].
    """
    ordered = sorted(values)
    if not ordered or not 0 < share <= 1:
        raise ValueError(f"no percentile {share} of {len(ordered)} values")
    return ordered[math.ceil(share * len(ordered)) - 1]


def timed(run: Callable[[], T], repeats: int = 1) -> tuple[list[float], T]:
    """Milliseconds of each of `repeats` calls, and what the last one gave."""
    times = []
    for _ in range(repeats):
        start = perf_counter()
        result = run()
        times.append(1e3 * (perf_counter() - start))
    return times, result


@dataclass(frozen=True)
class Sample:
    """One cell of the latency table: a row's times for so many documents."""

    row: str
    documents: int
    ms: Sequence[float]  # one a request
    encoded: Sequence[int] = ()  # of each request's documents, how many were scored by their states; ours only
