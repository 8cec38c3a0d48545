"""What every simulated user does: send a request that its tier may send, and look at the answer.

Only Locust's processes import this: Locust rewrites the standard library's sockets where it is imported.
"""

from __future__ import annotations

import os
import random
from itertools import count
from pathlib import Path
from time import perf_counter, sleep
from typing import ClassVar

import orjson
from locust import FastHttpUser, task
from locust.exception import LocustError

from loadtests.mix import PATHS, PRD, TIERS, Kind, Refused, Wrong, check
from loadtests.pool import COLLECTIONS, open_traffic

SCALING = os.environ.get("LOADTESTS_SHAPE") == "scaling"  # users who never wait, in the place of the three tiers
_STRIDE = 1000  # keys of one of Locust's processes that lie between those of others, where there are enough

TRAFFIC = open_traffic(Path(os.environ.get("LOADTESTS_COLLECTIONS", COLLECTIONS)))
_KEY = os.environ.get("LOADTESTS_KEY")  # one for all users
_FILE = os.environ.get("LOADTESTS_KEYS")  # a JSON file: lists of keys by tier
_KEYS: dict[str, list[str]] = orjson.loads(Path(_FILE).read_bytes()) if _FILE else {}
_NUMBERS = count()
_chance = random.Random()  # noqa: S311 - no secret


class Caller(FastHttpUser):
    """Someone with a key of their own."""

    abstract = True
    network_timeout = connection_timeout = 30.0

    tier: ClassVar[str]
    asks: ClassVar[dict[Kind, int]]  # how often each, relative to the others
    seconds: ClassVar[tuple[float, float]]  # between the starts of requests

    def on_start(self) -> None:
        """Take a key."""
        self._headers = {"content-type": "application/json"}
        if key := self._key():
            self._headers["authorization"] = f"Bearer {key}"
        sleep(_chance.uniform(0, max(self.seconds)))  # they do not all begin at once; Locust made this let others run
        self._since = perf_counter()

    def wait_time(self) -> float:
        """Seconds until the interval since the last start is over."""
        return max(0.0, _chance.uniform(*self.seconds) - (perf_counter() - self._since))

    @task
    def ask(self) -> None:
        """Send one request; what is refused or wrong counts as a failure, each with its reason."""
        (kind,) = _chance.choices(list(self.asks), list(self.asks.values()))
        self._since = perf_counter()
        body = _chance.choice(TRAFFIC.bodies[kind])
        sent = self.client.post(PATHS[kind], body, name=kind, headers=self._headers, catch_response=True)  # type: ignore[arg-type]
        with sent as response:
            if response.status_code:  # else there was no answer, which Locust counts itself
                try:
                    check(kind, response.status_code, response.content or b"")
                except (Refused, Wrong) as error:
                    response.failure(error)

    def _key(self) -> str | None:
        if _KEY or not _KEYS:
            return _KEY
        keys = _KEYS.get(self.tier)
        if not keys:
            raise LocustError(f"the file of keys has none of the tier {self.tier}")
        runner = self.environment.runner
        mine = runner.worker_index if runner and hasattr(runner, "worker_index") else 0
        return keys[(next(_NUMBERS) + mine * _STRIDE) % len(keys)]


def _of(tier: str) -> type[Caller]:
    """The users of a tier, who do what `TIERS` says."""
    mix = TIERS[tier]
    asks = {"weight": mix.users, "seconds": mix.seconds, "asks": dict(mix.asks)}
    return type(f"{tier.capitalize()}User", (Caller,), {"abstract": SCALING, "tier": tier, **asks})


PublicUser, StandardUser, PremiumUser = map(_of, TIERS)


class TirelessUser(Caller):
    """Sends the next request as soon as the last one is answered; the key has no limits."""

    abstract, tier, seconds, asks = not SCALING, "unlimited", (0.0, 0.0), dict(PRD)
