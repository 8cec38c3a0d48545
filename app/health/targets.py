"""The performance targets, and their measurement over the last five minutes from the Prometheus histograms.

Histograms are cumulative, so the difference of two readings gives the requests between them. They cover all worker
processes where the metrics do.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import Metric

WINDOW_S = 300.0
EVERY_S = 10.0
PART = 0.95  # share of requests that must take no longer than the target
RERANK_MS, SIMILARITY_MS, MEMORY_BYTES = 500.0, 100.0, 2e9

Buckets = Mapping[float, float]  # upper bound in seconds → cumulative count; infinity → total count
Reading = Mapping[str, Buckets]

_SIMILARITY = {"/similarity", "/v1/similarity"}
_AT_MOST_100 = {"1-20", "21-50", "51-100"}


@dataclass(frozen=True)
class Target:
    """A performance target and its measurement."""

    target: float
    measured: float | None  # None: no data
    requests: int | None  # sample size; None if the target is not about requests
    meets: bool | None  # None: no data


def read(families: Iterable[Metric], rerank_routes: Container[str]) -> dict[str, dict[float, float]]:
    """The buckets of "rerank", "similarity" and "lag" (of the event loop), summed over all series."""
    buckets: dict[str, dict[float, float]] = {"rerank": {}, "similarity": {}, "lag": {}}
    for family in families:
        for sample in family.samples:
            if sample.name.endswith("_bucket") and (name := _histogram(family.name, sample.labels, rerank_routes)):
                bound = float(sample.labels["le"])
                buckets[name][bound] = buckets[name].get(bound, 0.0) + sample.value
    return buckets


def _histogram(family: str, labels: Mapping[str, str], rerank_routes: Container[str]) -> str | None:
    """Which of the three histograms a sample belongs to; None for others."""
    if family == "qrerank_event_loop_lag_seconds":
        return "lag"
    if family != "qrerank_request_seconds" or labels["outcome"] != "ok":
        return None
    if labels["route"] in _SIMILARITY:
        return "similarity"
    return "rerank" if labels["route"] in rerank_routes and labels["documents"] in _AT_MOST_100 else None


def quantile(buckets: Buckets, part: float) -> float | None:
    """The quantile of a histogram, interpolated linearly as PromQL's `histogram_quantile` does; None without data.

    Values beyond the last finite bound count as that bound. part: 0 to 1.
    """
    bounds = sorted(buckets)
    if not bounds or buckets[bounds[-1]] <= 0:
        return None
    rank, lower, below = part * buckets[bounds[-1]], 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= rank:
            if math.isinf(bound):
                break
            in_bucket = buckets[bound] - below
            return lower + (bound - lower) * (rank - below) / in_bucket if in_bucket else lower
        lower, below = bound, buckets[bound]
    return lower


def latency(buckets: Buckets, target_ms: float) -> Target:
    """Measure a latency target, which must be a bucket bound: it is met if 95 % of the requests are within it."""
    requests = max(buckets.values(), default=0.0)
    if not requests:
        return Target(target_ms, None, 0, None)
    measured = quantile(buckets, PART)
    in_time = buckets[target_ms / 1e3]
    return Target(target_ms, None if measured is None else 1e3 * measured, int(requests), in_time >= PART * requests)


def all_met(targets: Iterable[Target]) -> bool | None:
    """Whether all targets with data are met; None if none has data."""
    results = [target.meets for target in targets if target.meets is not None]
    return all(results) if results else None


@dataclass(frozen=True)
class Past:
    """Measurements of the last minutes."""

    seconds: float  # time covered, at most the window
    buckets: Reading
    bytes_now: float  # resident memory
    most_bytes: float  # maximum of the resident memory within the window


class Window:
    """A sliding window of readings of the last five minutes. Safe to use from several threads."""

    def __init__(
        self,
        reading: Callable[[], Reading],
        memory: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create an empty window.

        Args:
            reading: Returns the cumulative buckets; may be called in any thread.
            memory: Returns the resident memory in bytes; may be called in any thread.
            clock: Returns seconds that only grow.
        """
        self._reading, self._memory, self._clock = reading, memory, clock
        self._lock = threading.Lock()
        self._readings: deque[tuple[float, Reading, float]] = deque()  # time, buckets, memory

    def past(self) -> Past:
        """Measurements between the window's oldest reading and now. Must be called at least every ten seconds."""
        with self._lock:
            now, reading, memory = self._clock(), self._reading(), self._memory()
            # More frequent calls add no readings.
            if not self._readings or now - self._readings[-1][0] >= EVERY_S / 2:
                self._readings.append((now, reading, memory))
            while now - self._readings[0][0] > WINDOW_S:  # the newest is never that old
                self._readings.popleft()
            start, first, _ = self._readings[0]
            buckets = {name: _increase(first.get(name, {}), cumulative) for name, cumulative in reading.items()}
            return Past(now - start, buckets, memory, max(memory, *(memory for _, _, memory in self._readings)))


def _increase(before: Buckets, now: Buckets) -> Buckets:
    """The increase of each bucket; a decrease, after a counter reset, counts as 0."""
    return {bound: max(0.0, count - before.get(bound, 0.0)) for bound, count in now.items()}
