"""Counters that all replicas share, in Redis."""

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
from retrieval.states.circuit_breaker import CircuitBreaker
from retrieval.states.redis_client import FAILURES, address, connect

log = logging.getLogger(__name__)

# The counters are those of the library's fixed windows. Its own script knows one of them and counts before it looks, so
# that a refusal would cost; this one looks at all before it counts anything, in one step and one round trip.
# A counter that is no number begins anew: Redis would refuse to count on. A window that lasts for ever
# or too long, which a clock that was set back may leave, is cut to its size.
# Answers: which charge was refused, or 0; how many counters began anew; of each charge that was taken, or of the
# refused one, what is counted and for how many milliseconds.
_TAKE = """
local left, wrong = {}, 0
for i, key in ipairs(KEYS) do
    local cost, limit, window = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
    local found = redis.pcall('get', key)
    if not found then
        found = '0'
    elseif type(found) ~= 'string' or #found > 15 or not (found == '0' or string.match(found, '^[1-9]%d*$')) then
        redis.call('del', key)
        found = '0'
        wrong = wrong + 1
    end
    left[i] = redis.call('pttl', key)
    if left[i] == -1 or left[i] > window then
        redis.call('pexpire', key, window)
        left[i] = window
    end
    if tonumber(found) + cost > limit then
        return {i, wrong, tonumber(found), left[i]}
    end
end
local answer = {0, wrong}
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

    During an outage (`CircuitBreaker`) every call raises Lost at once.
    """

    def __init__(self, url: str, *, timeout_s: float, retry_s: float = 1.0) -> None:
        """Use the server at a redis://, rediss:// or unix:// URL, whether or not it can be reached yet.

        timeout_s: how long a call waits for the server, each time that it waits for it.
        """
        self._client = connect(url, timeout_s)
        options = {"connection_pool": self._client.connection_pool, "key_prefix": "qrerank:quota"}
        limiter = Limiter(
            key_func,
            storage_uri="redis://",  # the pool knows the address
            storage_options=cast("dict[str, str]", options),
            strategy="fixed-window",
        )
        self._storage = cast("RedisStorage", limiter.limiter.storage)
        self._script = self._storage.get_connection().register_script(_TAKE.encode())
        self._lock = threading.Lock()  # guards `_resets`
        self._resets = 0
        self.breaker = CircuitBreaker(
            [self._client], lambda: self._ask("", _PROBE), retry_s, "each process counts quotas alone"
        )

    @property
    def resets(self) -> int:
        """Counters that were no numbers, and began anew."""
        return self._resets

    def check(self) -> None:
        """Ask the server whether it answers, and counts, unless it is known that it does not; blocks."""
        with suppress(Lost):
            self.take("", _PROBE)

    def take(self, who: str, charges: Sequence[Charge]) -> Verdict:
        """Take every charge, or none; Lost during an outage."""
        if not self.breaker.available:
            raise Lost
        try:
            return self._ask(who, charges)
        except FAILURES as error:
            self.breaker.fail(error)
            raise Lost from error

    def close(self) -> None:
        """Ask no more."""
        self.breaker.close()

    def _ask(self, who: str, charges: Sequence[Charge]) -> Verdict:
        keys = [self._storage.prefixed_key(charge.limit.key_for(who)) for charge in charges]
        sizes = ((charge.cost, charge.limit.amount, 1000 * charge.limit.get_expiry()) for charge in charges)
        refused, resets, numbers = _read(self._script(keys, [number for size in sizes for number in size]), charges)
        if resets:
            self._note(resets)
        counted = [charges[refused - 1]] if refused else charges
        stands = zip(counted, numbers[::2], numbers[1::2], strict=True)
        return Verdict(not refused, [_standing(charge, spent, left_ms) for charge, spent, left_ms in stands])

    def _note(self, resets: int) -> None:
        """Tell of counters that somebody else wrote something into, the first time."""
        with self._lock:
            first, self._resets = not self._resets, self._resets + resets
        self.breaker.last_fault = Fault.now(
            f"Redis at {address(self._client)} held counters of quotas that are no numbers; they began anew"
        )
        if first:
            log.warning("%s; more of their kind are counted", self.breaker.last_fault.text)


def _read(answer: object, charges: Sequence[Charge]) -> tuple[int, int, list[int]]:
    """The script's answer: its first two numbers, and the others; ValueError for one that the script never gives."""
    if not (isinstance(answer, list) and len(answer) > 1 and all(type(number) is int for number in answer)):
        raise ValueError("the answer to a quota's script is no list of numbers")
    refused, resets, *numbers = answer
    if not 0 <= refused <= len(charges) or len(numbers) != 2 * (1 if refused else len(charges)):
        raise ValueError("the answer to a quota's script has not as many numbers as it should")
    return refused, resets, numbers


def _standing(charge: Charge, spent: int, left_ms: int) -> Standing:
    limit = charge.limit.amount
    return Standing.of(charge.limit, min(limit, max(0, limit - spent)), left_ms / 1000)
