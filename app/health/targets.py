"""What the product promises, beside what the last five minutes were like. Measured from the metrics' own histograms.

A histogram only ever grows, so what it did in a while is the difference of two readings: they count the requests of
all worker processes wherever the metrics do.
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
PART = 0.95  # of the requests, that must take no longer than the target
RERANK_MS, SIMILARITY_MS, MEMORY_BYTES = 500.0, 100.0, 2e9

Buckets = Mapping[float, float]  # upper bound in seconds to how many took at most that; infinity to all
Reading = Mapping[str, Buckets]

_SIMILARITY = {"/similarity", "/v1/similarity"}
_AT_MOST_100 = {"1-20", "21-50", "51-100"}


@dataclass(frozen=True)
class Target:
    """A promise, and what was measured."""

    target: float
    measured: float | None  # None: nothing was
    requests: int | None  # that it was measured on; None for what is not measured on requests
    meets: bool | None  # None: there is no telling


def read(families: Iterable[Metric], rerank_routes: Container[str]) -> dict[str, dict[float, float]]:
    """The buckets of "rerank", "similarity" and "lag" (of the event loop) among the metrics."""
    found: dict[str, dict[float, float]] = {"rerank": {}, "similarity": {}, "lag": {}}
    for family in families:
        for sample in family.samples:
            if sample.name.endswith("_bucket") and (name := _histogram(family.name, sample.labels, rerank_routes)):
                bound = float(sample.labels["le"])
                found[name][bound] = found[name].get(bound, 0.0) + sample.value
    return found


def _histogram(family: str, labels: Mapping[str, str], rerank_routes: Container[str]) -> str | None:
    """Which of ours a sample belongs to."""
    if family == "qrerank_event_loop_lag_seconds":
        return "lag"
    if family != "qrerank_request_seconds" or labels["outcome"] != "ok":
        return None
    if labels["route"] in _SIMILARITY:
        return "similarity"
    return "rerank" if labels["route"] in rerank_routes and labels["documents"] in _AT_MOST_100 else None


def quantile(buckets: Buckets, part: float) -> float | None:
    """The value that this part of all lies at or below, evenly spread within its bucket; None of nothing.

    What lies beyond the last bound is said to lie at it.
    """
    bounds = sorted(buckets)
    if not bounds or buckets[bounds[-1]] <= 0:
        return None
    rank, lower, below = part * buckets[bounds[-1]], 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= rank:
            if math.isinf(bound):
                break
            inside = buckets[bound] - below
            return lower + (bound - lower) * (rank - below) / inside if inside else lower
        lower, below = bound, buckets[bound]
    return lower


def latency(buckets: Buckets, target_ms: float) -> Target:
    """Whether enough of the requests took no longer than the target, which must be one of the bounds."""
    requests = max(buckets.values(), default=0.0)
    if not requests:
        return Target(target_ms, None, 0, None)
    measured = quantile(buckets, PART)
    in_time = buckets[target_ms / 1e3]
    return Target(target_ms, None if measured is None else 1e3 * measured, int(requests), in_time >= PART * requests)


def all_met(targets: Iterable[Target]) -> bool | None:
    """Whether all that was measured meets its target; None if nothing was."""
    told = [target.meets for target in targets if target.meets is not None]
    return all(told) if told else None


@dataclass(frozen=True)
class Past:
    """What the last minutes were like."""

    seconds: float  # that are known of, at most the window
    buckets: Reading
    bytes_now: float  # of memory
    most_bytes: float  # that were seen, now or before


class Window:
    """Readings of the last five minutes."""

    def __init__(
        self,
        reading: Callable[[], Reading],
        memory: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """reading: buckets that only grow. memory: bytes now. Both may be asked in any thread."""
        self._reading, self._memory, self._clock = reading, memory, clock
        self._lock = threading.Lock()
        self._seen: deque[tuple[float, Reading, float]] = deque()

    def past(self) -> Past:
        """What was between the oldest reading of the window and now. To be called every ten seconds at least."""
        with self._lock:
            now, reading, memory = self._clock(), self._reading(), self._memory()
            if (
                not self._seen or now - self._seen[-1][0] >= EVERY_S / 2
            ):  # whoever asks more often makes no more of them
                self._seen.append((now, reading, memory))
            while now - self._seen[0][0] > WINDOW_S:  # never the last: it is not that old
                self._seen.popleft()
            begun, first, _ = self._seen[0]
            buckets = {name: _grown(first.get(name, {}), of) for name, of in reading.items()}
            return Past(now - begun, buckets, memory, max(memory, *(memory for _, _, memory in self._seen)))


def _grown(before: Buckets, now: Buckets) -> Buckets:
    """By how much each bucket grew; it only shrinks where counting began anew."""
    return {bound: max(0.0, count - before.get(bound, 0.0)) for bound, count in now.items()}
