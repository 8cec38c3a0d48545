"""Fixed-window counters of this process, with `limits`, the library under slowapi.

slowapi's decorators are not used: they need the cost before the body is read, charge one quota at a time, support HTTP
only and call Redis on the event loop. Its Limiter selects storage and strategy; the rest is here and in
`redis_counters`.
"""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from limits import RateLimitItem
from limits.storage import Storage
from limits.strategies import RateLimiter
from slowapi import Limiter


class Lost(Exception):
    """The shared counters do not answer correctly. Whether anything was charged is unknown."""


@dataclass(frozen=True)
class Charge:
    """What a request takes of one quota."""

    limit: RateLimitItem  # its namespace is the quota's name
    cost: int  # from 1 to the whole quota


@dataclass(frozen=True)
class Standing:
    """The state of one quota of a caller."""

    quota: str
    limit: int
    window: str  # "minute" or "hour"
    left: int
    resets_in_s: float

    @staticmethod
    def of(limit: RateLimitItem, left: int, resets_in_s: float) -> Standing:
        """Build it with `resets_in_s` clamped to [0, the window's length], in case a clock was changed."""
        seconds = min(max(0.0, resets_in_s), limit.get_expiry())
        return Standing(limit.namespace, limit.amount, limit.GRANULARITY.name, left, seconds)

    @property
    def retry_after_s(self) -> int:
        """Seconds until the window ends, rounded up, at least 1."""
        return max(1, math.ceil(self.resets_in_s))

    def headers(self) -> dict[str, str]:
        """The response headers. The reset is in Unix time, as with slowapi and Cohere."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.left),
            "X-RateLimit-Reset": str(math.ceil(time.time() + self.resets_in_s)),
            "X-RateLimit-Resource": self.quota,
        }


@dataclass(frozen=True)
class Verdict:
    """The result of charging a request."""

    taken: bool  # whether all charges were taken; otherwise none was
    standings: Sequence[Standing]  # of each charged quota, or of the one that was exceeded


class MonotonicStorage(Storage):
    """Counters in memory that use the monotonic clock, so that a clock change does not affect windows."""

    STORAGE_SCHEME = ["monotonic"]  # noqa: RUF012 - as in the base

    def __init__(self, uri: str | None = None) -> None:
        """uri: only its scheme is used."""
        super().__init__(uri)
        self._counts: dict[str, int] = {}
        self._ends: dict[str, float] = {}
        self._queue: list[tuple[float, str]] = []  # a heap of ends and keys

    @property
    def base_exceptions(self) -> type[Exception]:
        """The errors of the storage; it raises none."""
        return ValueError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Add to a key's count and return it. The first call for a key starts its window of `expiry` seconds."""
        self._forget()
        if key not in self._counts:
            self._ends[key] = time.monotonic() + expiry
            heapq.heappush(self._queue, (self._ends[key], key))
        self._counts[key] = self._counts.get(key, 0) + amount
        return self._counts[key]

    def get(self, key: str) -> int:
        """The count in the current window."""
        self._forget()
        return self._counts.get(key, 0)

    def get_expiry(self, key: str) -> float:
        """The end of the window, in Unix time."""
        return time.time() + self.seconds_left(key)

    def seconds_left(self, key: str) -> float:
        """Seconds until the window ends."""
        now = time.monotonic()
        return self._ends.get(key, now) - now

    def check(self) -> bool:
        """Whether the storage is available: always."""
        return True

    def reset(self) -> int:
        """Remove all counters and return how many there were."""
        keys = list(self._counts)
        for key in keys:
            self.clear(key)
        return len(keys)

    def clear(self, key: str) -> None:
        """Remove a key's counter."""
        self._counts.pop(key, None)
        self._ends.pop(key, None)

    def _forget(self) -> None:
        """Remove expired windows."""
        now = time.monotonic()
        while self._queue and self._queue[0][0] <= now:
            end, key = heapq.heappop(self._queue)
            if self._ends.get(key) == end:  # otherwise it was cleared and perhaps started again
                self.clear(key)


def key_func() -> str:
    """A placeholder: slowapi requires a key function, but callers are identified by `caller_of`."""
    return ""


class LocalCounters:
    """The counters of one process. Safe to use from several threads."""

    def __init__(self) -> None:
        """Start with all counters at 0."""
        limiter = Limiter(key_func, storage_uri="monotonic://", strategy="fixed-window")
        self._limiter: RateLimiter = limiter.limiter
        self._lock = threading.Lock()  # makes the strategy's `test` and `hit` atomic

    def take(self, caller: str, charges: Sequence[Charge]) -> Verdict:
        """Take all charges or none."""
        with self._lock:
            for charge in charges:
                if not self._limiter.test(charge.limit, caller, cost=charge.cost):
                    return Verdict(False, [self._standing(charge.limit, caller)])
            for charge in charges:
                self._limiter.hit(charge.limit, caller, cost=charge.cost)
            return Verdict(True, [self._standing(charge.limit, caller) for charge in charges])

    def _standing(self, limit: RateLimitItem, caller: str) -> Standing:
        _, left = self._limiter.get_window_stats(limit, caller)
        storage = cast(
            "MonotonicStorage", self._limiter.storage
        )  # the stats give the end by the wall clock, which may step
        return Standing.of(limit, left, storage.seconds_left(limit.key_for(caller)))
