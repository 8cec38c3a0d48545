"""Rate limiting: the quotas of every tier and the check of each request against them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute

from app.errors import Forbidden, TooLarge
from app.identity import Identity
from app.quotas.fair_share import caller_of
from app.quotas.settings import QuotaSettings, TierSettings
from app.quotas.windows import Charge, LocalCounters, Lost, MonotonicStorage, Standing, Verdict
from app.ranking.methods import Method

if TYPE_CHECKING:
    from app.quotas.redis_counters import SharedCounters

log = logging.getLogger(__name__)

_THREADS = 16  # for calls to Redis


@dataclass(frozen=True)
class Cost:
    """The cost of a request, or of a part of one. An unreadable one has the cost 0 but still counts as a request."""

    documents: int = 0  # in the request
    units: int = 0  # compared pairs or embedded texts
    work: Method | Literal["embedding"] = "classical"  # selects the price of a unit
    requests: int = 1  # 0: a further part of a request that was counted


@dataclass(frozen=True)
class QuotaCounts:
    """Counters since the start of the process."""

    refused: Mapping[str, int]  # rejected requests by quota
    alone: int  # requests that were counted locally because Redis did not answer
    errors: int  # failed calls to Redis
    resets: int  # counters in Redis that were not numbers and were reset
    available: bool | None  # whether Redis answers; None without Redis


@dataclass(frozen=True)
class _Tier:
    requests: RateLimitItem | None = None
    similarities: RateLimitItem | None = None
    documents: int | None = None

    @staticmethod
    def of(settings: TierSettings) -> _Tier:
        minute, hour = settings.requests_per_minute, settings.similarities_per_hour
        return _Tier(
            None if minute is None else RateLimitItemPerMinute(minute, namespace="requests"),
            None if hour is None else RateLimitItemPerHour(hour, namespace="similarities"),
            settings.documents,
        )


@dataclass
class _Tally:
    refused: Counter[str] = field(default_factory=Counter)
    alone: int = 0


def _shared(redis_url: str, timeout_s: float) -> SharedCounters:
    from app.quotas.redis_counters import SharedCounters  # imported late: redis-py takes 0.3 s to import

    return SharedCounters(redis_url, timeout_s=timeout_s)


class Quotas:
    """Counts every caller's requests and similarities. Belongs to one event loop."""

    def __init__(self, settings: QuotaSettings, redis_url: str | None = None) -> None:
        """settings: the quotas and prices. redis_url: of the counters that replicas share; None: local counters."""
        self._tiers = {
            "public": _Tier.of(settings.public),
            "standard": _Tier.of(settings.standard),
            "premium": _Tier.of(settings.premium),
            "unlimited": _Tier(),
        }
        self._unlimited = {name for name, tier in self._tiers.items() if tier == _Tier()}
        self._prices = settings.prices
        self._local = LocalCounters()
        self._timeout_s = settings.redis_timeout_s
        self.shared = _shared(redis_url, self._timeout_s) if redis_url else None
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="quotas")
        self._spent = MonotonicStorage()  # callers whose requests are used up: rejecting them again costs no lookup
        self._tally = _Tally()

    def bind(self, identity: Identity) -> bool:
        """Whether this caller has quotas. Forbidden if its tier is unknown, because then its limits are unknown."""
        if identity.tier not in self._tiers:
            log.error("%s is of the tier %r, which is not in the settings: rejected", identity.name, identity.tier)
            raise Forbidden("the tier of this key is not known here; ask the operator of this service to correct it")
        return identity.tier not in self._unlimited

    def check(self, identity: Identity, cost: Cost) -> None:
        """Raise TooLarge for a request that exceeds a whole quota, so that it could never pass."""
        tier = self._tiers[identity.tier]
        if tier.documents is not None and cost.documents > tier.documents:
            raise TooLarge(
                f"{cost.documents} documents were sent and at most {tier.documents} are taken of the tier "
                f"{identity.tier}; send them in parts"
            )
        similarities = self._similarities(cost)
        if tier.similarities is not None and similarities > tier.similarities.amount:
            raise TooLarge(
                f"the request takes {similarities} similarities and the tier {identity.tier} has "
                f"{tier.similarities.amount} an hour; send fewer texts at once"
            )

    def spent(self, identity: Identity) -> Verdict | None:
        """The rejection of a caller whose requests are known to be used up, else None. Needs neither body nor Redis."""
        limit = self._tiers[identity.tier].requests
        if limit is None:
            return None
        key = limit.key_for(caller_of(identity, ""))
        if not self._spent.get(key):
            return None
        self._tally.refused["requests"] += 1
        return Verdict(False, [Standing.of(limit, 0, self._spent.seconds_left(key))])

    async def take(self, identity: Identity, cost: Cost) -> Verdict:
        """Charge a request and its similarities, or neither. Call `check` first."""
        caller, charges = caller_of(identity, ""), self._charges(identity, cost)
        verdict = await self._take(caller, charges) if charges else Verdict(True, [])
        if not verdict.taken:
            exceeded = verdict.standings[0]
            self._tally.refused[exceeded.quota] += 1
            if exceeded.quota == "requests":
                self._spent.incr(charges[0].limit.key_for(caller), exceeded.resets_in_s)
        return verdict

    def counts(self) -> QuotaCounts:
        """The counters so far."""
        shared = self.shared
        return QuotaCounts(
            dict(self._tally.refused),
            self._tally.alone,
            shared.breaker.errors if shared else 0,
            shared.resets if shared else 0,
            shared.breaker.available if shared else None,
        )

    def close(self) -> None:
        """Close the connections to Redis."""
        if self.shared:
            self.shared.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _take(self, caller: str, charges: Sequence[Charge]) -> Verdict:
        if self.shared is None:
            return self._local.take(caller, charges)
        if self.shared.breaker.available:
            call = asyncio.get_running_loop().run_in_executor(self._threads, self.shared.take, caller, charges)
            await asyncio.wait([call], timeout=self._timeout_s)  # unlike wait_for, never discards a finished answer
            try:
                if call.done():
                    return call.result()
                call.cancel()
                self.shared.breaker.fail(TimeoutError(f"no answer within {self._timeout_s:g} s"))
            except Lost:
                pass
        self._tally.alone += 1
        return self._local.take(caller, charges)

    def _charges(self, identity: Identity, cost: Cost) -> list[Charge]:
        tier, similarities = self._tiers[identity.tier], self._similarities(cost)
        charges = [Charge(tier.requests, cost.requests)] if tier.requests and cost.requests else []
        if tier.similarities and similarities:
            charges.append(Charge(tier.similarities, similarities))
        return charges

    def _similarities(self, cost: Cost) -> int:
        price: int = getattr(self._prices, cost.work)
        return cost.units * price
