"""Counters in Redis that all replicas share."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from limits import RateLimitItemPerSecond
from limits.storage import RedisStorage
from slowapi import Limiter

from app.quotas.windows import Charge, Lost, Standing, Verdict, key_func
from retrieval.errors import Fault
from retrieval.states.redis_client import FAILURES, address, breaker, connect

log = logging.getLogger(__name__)

# The counters are the fixed windows of `limits`. The library's own script handles one counter and increments before it
# compares, so that a rejected request would be charged. This script compares all counters before it increments any,
# atomically and in one round trip.
# A counter that is not a number is reset, because Redis could not increment it. A window that never expires, or lasts
# longer than its length (a clock that was set back may cause that), is shortened to its length.
# Returns: the index of the charge that was rejected, or 0; the number of counters that were reset; then for each charge
# that was taken, or for the rejected one, the count and the milliseconds until its window ends.
_TAKE = """
local left, resets = {}, 0
for i, key in ipairs(KEYS) do
    local cost, limit, window = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
    local count = redis.pcall('get', key)
    if not count then
        count = '0'
    elseif type(count) ~= 'string' or #count > 15 or not (count == '0' or string.match(count, '^[1-9]%d*$')) then
        redis.call('del', key)
        count = '0'
        resets = resets + 1
    end
    left[i] = redis.call('pttl', key)
    if left[i] == -1 or left[i] > window then
        redis.call('pexpire', key, window)
        left[i] = window
    end
    if tonumber(count) + cost > limit then
        return {i, resets, tonumber(count), left[i]}
    end
end
local answer = {0, resets}
for i, key in ipairs(KEYS) do
    answer[2 * i + 1] = redis.call('incrby', key, ARGV[3 * i - 2])
    if left[i] < 0 then
        left[i] = tonumber(ARGV[3 * i])
        redis.call('pexpire', key, left[i])
    end
    answer[2 * i + 2] = left[i]
end
return answer
"""
_PROBE = [Charge(RateLimitItemPerSecond(1_000_000, namespace="probe"), 1)]


class SharedCounters:
    """Counters in Redis. Safe to use from several threads.

    While the circuit breaker is open, every call raises Lost at once.
    """

    def __init__(self, url: str, *, timeout_s: float, retry_s: float = 1.0) -> None:
        """Use a server, which need not be reachable yet.

        Args:
            url: redis://, rediss:// or unix://.
            timeout_s: Timeout of each socket operation.
            retry_s: Seconds between attempts to reconnect.
        """
        self._client = connect(url, timeout_s)
        options = {"connection_pool": self._client.connection_pool, "key_prefix": "qrerank:quota"}
        limiter = Limiter(
            key_func,
            storage_uri="redis://",  # the connection pool has the address
            storage_options=cast("dict[str, str]", options),
            strategy="fixed-window",
        )
        self._storage = cast("RedisStorage", limiter.limiter.storage)
        self._script = self._storage.get_connection().register_script(_TAKE.encode())
        self._lock = threading.Lock()  # guards `_resets`
        self._resets = 0
        self.breaker = breaker(
            [self._client], lambda: self._run_script("", _PROBE), retry_s, "each process counts quotas alone"
        )

    @property
    def resets(self) -> int:
        """The number of counters that were not numbers and were reset."""
        return self._resets

    def check(self) -> None:
        """Check that the server answers and takes writes, unless the circuit breaker is open. Blocks."""
        with suppress(Lost):
            self.take("", _PROBE)

    def take(self, caller: str, charges: Sequence[Charge]) -> Verdict:
        """Take all charges or none; Lost during an outage."""
        if not self.breaker.available:
            raise Lost
        try:
            return self._run_script(caller, charges)
        except FAILURES as error:
            self.breaker.fail(error)
            raise Lost from error

    def close(self) -> None:
        """Close the connections and stop reconnecting."""
        self.breaker.close()

    def _run_script(self, caller: str, charges: Sequence[Charge]) -> Verdict:
        keys = [self._storage.prefixed_key(charge.limit.key_for(caller)) for charge in charges]
        sizes = ((charge.cost, charge.limit.amount, 1000 * charge.limit.get_expiry()) for charge in charges)
        rejected, resets, numbers = _read(self._script(keys, [number for size in sizes for number in size]), charges)
        if resets:
            self._note(resets)
        counted = [charges[rejected - 1]] if rejected else charges
        counts = zip(counted, numbers[::2], numbers[1::2], strict=True)
        return Verdict(not rejected, [_standing(charge, count, left_ms) for charge, count, left_ms in counts])

    def _note(self, resets: int) -> None:
        """Count resets of counters that another program overwrote, and log the first."""
        with self._lock:
            first, self._resets = not self._resets, self._resets + resets
        self.breaker.last_fault = Fault.now(
            f"Redis at {address(self._client)} had quota counters that are not numbers; they were reset"
        )
        if first:
            log.warning("%s; further resets are only counted", self.breaker.last_fault.text)


def _read(answer: object, charges: Sequence[Charge]) -> tuple[int, int, list[int]]:
    """The script's first two numbers and its other numbers; ValueError for an answer that the script cannot give."""
    if not (isinstance(answer, list) and len(answer) > 1 and all(type(number) is int for number in answer)):
        raise ValueError("the quota script did not return a list of numbers")
    rejected, resets, *numbers = answer
    if not 0 <= rejected <= len(charges) or len(numbers) != 2 * (1 if rejected else len(charges)):
        raise ValueError("the quota script returned a wrong number of values")
    return rejected, resets, numbers


def _standing(charge: Charge, count: int, left_ms: int) -> Standing:
    limit = charge.limit.amount
    return Standing.of(charge.limit, min(limit, max(0, limit - count)), left_ms / 1000)
