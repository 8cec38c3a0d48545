"""The quotas of every tier, and whether a caller's next request is within them."""

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
from app.quotas.settings import QuotaSettings, TierSettings
from app.quotas.shares import caller_of
from app.quotas.windows import Charge, LocalCounters, Lost, MonotonicStorage, Standing, Verdict
from app.ranking.methods import Method

if TYPE_CHECKING:
    from app.quotas.shared import SharedCounters

log = logging.getLogger(__name__)

_THREADS = 16  # that wait for Redis


@dataclass(frozen=True)
class Cost:
    """What a request wants done. One that cannot be read wants nothing, and is a request all the same."""

    documents: int = 0  # that it holds
    units: int = 0
    work: Method | Literal["embedding"] = "classical"


@dataclass(frozen=True)
class QuotaCounts:
    """What was counted since the start."""

    refused: Mapping[str, int]  # requests, by quota
    alone: int  # requests that this process counted alone because Redis did not answer
    errors: int  # exchanges with Redis that failed
    resets: int  # of counters in Redis that were no numbers
    available: bool | None  # whether Redis answers; None without


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
    from app.quotas.shared import SharedCounters  # not before: redis-py takes 0.3 s to import

    return SharedCounters(redis_url, timeout_s=timeout_s)


class Quotas:
    """Counts every caller's requests and similarities. Belongs to one event loop."""

    def __init__(self, settings: QuotaSettings, redis_url: str | None = None) -> None:
        """redis_url: where replicas count together; without, each process counts alone."""
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
        self._spent = MonotonicStorage()  # of whom requests are used up, so that more of them cost nothing
        self._tally = _Tally()

    def bind(self, identity: Identity) -> bool:
        """Whether anything limits this caller. Forbidden for one whose tier there is not: nothing says its limits."""
        if identity.tier not in self._tiers:
            log.error("%s is of the tier %r, which is not in the settings: refused", identity.name, identity.tier)
            raise Forbidden("the tier of this key is not known here; ask whoever runs the service to set it right")
        return identity.tier not in self._unlimited

    def check(self, identity: Identity, cost: Cost) -> None:
        """TooLarge for a request that is too much at any time."""
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
        """The refusal of a caller whose requests are known to be used up: it needs neither its body nor Redis."""
        limit = self._tiers[identity.tier].requests
        if limit is None:
            return None
        key = limit.key_for(caller_of(identity, ""))
        if not self._spent.get(key):
            return None
        self._tally.refused["requests"] += 1
        return Verdict(False, [Standing.of(limit, 0, self._spent.seconds_left(key))])

    async def take(self, identity: Identity, cost: Cost) -> Verdict:
        """Take a request and its similarities, or neither, once `check` let it pass."""
        who, charges = caller_of(identity, ""), self._charges(identity, cost)
        verdict = await self._take(who, charges) if charges else Verdict(True, [])
        if not verdict.taken:
            refusing = verdict.standings[0]
            self._tally.refused[refusing.quota] += 1
            if refusing.quota == "requests":
                self._spent.incr(charges[0].limit.key_for(who), refusing.resets_in_s)
        return verdict

    def counts(self) -> QuotaCounts:
        """The counts so far."""
        shared = self.shared
        return QuotaCounts(
            dict(self._tally.refused),
            self._tally.alone,
            shared.breaker.errors if shared else 0,
            shared.resets if shared else 0,
            shared.breaker.available if shared else None,
        )

    def close(self) -> None:
        """Let go of Redis."""
        if self.shared:
            self.shared.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _take(self, who: str, charges: Sequence[Charge]) -> Verdict:
        if self.shared is None:
            return self._local.take(who, charges)
        if self.shared.breaker.available:
            asked = asyncio.get_running_loop().run_in_executor(self._threads, self.shared.take, who, charges)
            await asyncio.wait([asked], timeout=self._timeout_s)  # a timeout that loses no answer that is there
            try:
                if asked.done():
                    return asked.result()
                asked.cancel()
                self.shared.breaker.fail(TimeoutError(f"no answer within {self._timeout_s:g} s"))
            except Lost:
                pass
        self._tally.alone += 1
        return self._local.take(who, charges)

    def _charges(self, identity: Identity, cost: Cost) -> list[Charge]:
        tier, similarities = self._tiers[identity.tier], self._similarities(cost)
        charges = [Charge(tier.requests, 1)] if tier.requests else []
        if tier.similarities and similarities:
            charges.append(Charge(tier.similarities, similarities))
        return charges

    def _similarities(self, cost: Cost) -> int:
        price: int = getattr(self._prices, cost.work)
        return cost.units * price
