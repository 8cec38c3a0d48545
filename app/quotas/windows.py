"""What is counted, and where: fixed windows of `limits`, the library that slowapi stands on, in this process.

slowapi's decorators are not used: they know what a request costs before its body is read, take from one quota at a
time, answer for HTTP alone and ask Redis on the event loop. Its Limiter chooses storage and strategy; the rest is here
and in `shared`.
"""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from limits import RateLimitItem
from limits.storage import Storage
from limits.strategies import RateLimiter
from slowapi import Limiter


class Lost(Exception):
    """The counters do not answer, or not usefully; nothing is known of what was taken."""


@dataclass(frozen=True)
class Charge:
    """What a request takes of one quota, at least 1 and at most all of it."""

    limit: RateLimitItem  # its namespace is the quota's name
    cost: int


@dataclass(frozen=True)
class Standing:
    """How much of a quota is left, and for how long."""

    quota: str
    limit: int
    window: str  # "minute" or "hour"
    left: int
    resets_in_s: float

    @staticmethod
    def of(limit: RateLimitItem, left: int, resets_in_s: float) -> Standing:
        """The window is neither longer than it is nor over before now, whatever clocks say."""
        seconds = min(max(0.0, resets_in_s), limit.get_expiry())
        return Standing(limit.namespace, limit.amount, limit.GRANULARITY.name, left, seconds)

    @property
    def retry_after_s(self) -> int:
        """Rounded up: who waits so long is served."""
        return max(1, math.ceil(self.resets_in_s))

    def headers(self) -> dict[str, str]:
        """As clients read them: the reset in Unix time, as slowapi's and cohere's is."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.left),
            "X-RateLimit-Reset": str(math.ceil(time.time() + self.resets_in_s)),
            "X-RateLimit-Resource": self.quota,
        }


@dataclass(frozen=True)
class Verdict:
    """Whether all was taken, or nothing."""

    taken: bool
    standings: Sequence[Standing]  # of each quota that was taken from, or of the one that refused


class MonotonicStorage(Storage):
    """Counters in memory whose windows no clock jump opens or holds shut; the library's own go by the time of day."""

    STORAGE_SCHEME = ["monotonic"]  # noqa: RUF012 - as in the base

    def __init__(self, uri: str | None = None) -> None:
        """uri: is all in its scheme."""
        super().__init__(uri)
        self._counts: dict[str, int] = {}
        self._ends: dict[str, float] = {}
        self._queue: list[tuple[float, str]] = []  # of ends, the next one first

    @property
    def base_exceptions(self) -> type[Exception]:
        """What may go wrong: nothing."""
        return ValueError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count; the first of a key begins its window."""
        self._forget()
        if key not in self._counts:
            self._ends[key] = time.monotonic() + expiry
            heapq.heappush(self._queue, (self._ends[key], key))
        self._counts[key] = self._counts.get(key, 0) + amount
        return self._counts[key]

    def get(self, key: str) -> int:
        """What was counted in this window."""
        self._forget()
        return self._counts.get(key, 0)

    def get_expiry(self, key: str) -> float:
        """When the window ends, in Unix time."""
        return time.time() + self.seconds_left(key)

    def seconds_left(self, key: str) -> float:
        """Until the window ends."""
        now = time.monotonic()
        return self._ends.get(key, now) - now

    def check(self) -> bool:
        """Memory answers."""
        return True

    def reset(self) -> int:
        """Forget all."""
        keys = list(self._counts)
        for key in keys:
            self.clear(key)
        return len(keys)

    def clear(self, key: str) -> None:
        """Forget a key."""
        self._counts.pop(key, None)
        self._ends.pop(key, None)

    def _forget(self) -> None:
        """Drop the windows that are over."""
        now = time.monotonic()
        while self._queue and self._queue[0][0] <= now:
            end, key = heapq.heappop(self._queue)
            if self._ends.get(key) == end:  # else it was cleared, and perhaps begun anew
                self.clear(key)


def key_func() -> str:
    """What slowapi would ask for a key; callers are told by their identity instead."""
    return ""


class LocalCounters:
    """The counters of this process. Safe to use from several threads."""

    def __init__(self) -> None:
        """Nothing was counted yet."""
        limiter = Limiter(key_func, storage_uri="monotonic://", strategy="fixed-window")
        self._limiter: RateLimiter = limiter.limiter
        self._lock = threading.Lock()  # the strategy's test and hit are two steps

    def take(self, who: str, charges: Sequence[Charge]) -> Verdict:
        """Take every charge, or none."""
        with self._lock:
            for charge in charges:
                if not self._limiter.test(charge.limit, who, cost=charge.cost):
                    return Verdict(False, [self._standing(charge.limit, who)])
            for charge in charges:
                self._limiter.hit(charge.limit, who, cost=charge.cost)
            return Verdict(True, [self._standing(charge.limit, who) for charge in charges])

    def _standing(self, limit: RateLimitItem, who: str) -> Standing:
        ends_at, left = self._limiter.get_window_stats(limit, who)
        return Standing.of(limit, left, ends_at - time.time())
