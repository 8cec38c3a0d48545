"""Users, shapes and the verdict for Locust: `locust -f loadtests/locustfile.py`. `python -m loadtests` uses it.

With LOADTESTS_SHAPE the users come as that shape says, and the run is judged; without, as Locust's options or its page
say. Only Locust's processes import this: Locust rewrites the standard library's sockets where it is imported.
"""

from __future__ import annotations

import os
import random
import sys
from itertools import count
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).parents[1]))  # Locust adds only the file's own folder

import orjson
from locust import FastHttpUser, LoadTestShape, events, task
from locust.env import Environment
from locust.exception import LocustError
from locust.runners import WorkerRunner
from locust.stats import StatsEntry, StatsError

from benchmarks.server import resident_bytes
from loadtests.mix import PATHS, PRD, TIERS, Kind, Refused, Wrong, check, open_traffic
from loadtests.shapes import BOUNDS, PLANS, stretched, users_at
from loadtests.thresholds import History, Present, facts, judge, report

_SPAWNED_PER_SECOND = 1000  # they come and go at once
_STRIDE = 1000  # keys of one of Locust's processes that lie between those of others, where there are enough
_SHAPE = os.environ.get("LOADTESTS_SHAPE", "")
_SCALING = _SHAPE == "scaling"  # users who never wait, in the place of the three tiers
_PIDS = [int(pid) for pid in os.environ.get("LOADTESTS_PIDS", "").split()]
_KEY = os.environ.get("LOADTESTS_KEY")  # one for all users
_FILE = os.environ.get("LOADTESTS_KEYS")  # a JSON file: lists of keys by tier
_KEYS: dict[str, list[str]] = orjson.loads(Path(_FILE).read_bytes()) if _FILE else {}
_TRAFFIC = open_traffic()
_HISTORY, _NUMBERS = History(), count()
_chance = random.Random()  # noqa: S311 - no secret


class Caller(FastHttpUser):
    """Someone with a key of their own, who sends what its tier may send, and looks at the answers."""

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
        body = _chance.choice(_TRAFFIC.bodies[kind])
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
    return type(f"{tier.capitalize()}User", (Caller,), {"abstract": _SCALING, "tier": tier, **asks})


PublicUser, StandardUser, PremiumUser = map(_of, TIERS)  # Locust takes the users that it finds here


class TirelessUser(Caller):
    """Sends the next request as soon as the last one is answered; the key has no limits."""

    abstract, tier, seconds, asks = not _SCALING, "unlimited", (0.0, 0.0), dict(PRD)


def _number(name: str) -> float:
    return float(os.environ.get(name, "0"))


def _present(total: StatsEntry) -> Present:
    """Locust's figures of the last seconds; its percentile of no requests is 0."""
    sent, lost = total.current_rps, total.current_fail_per_sec
    p95_ms = total.get_current_response_time_percentile(0.95) or None
    return Present(sent - lost, p95_ms, 100 * lost / sent if sent else 0.0)


if _SHAPE and not _SCALING:
    _PLAN = stretched(PLANS[_SHAPE], _number("LOADTESTS_SECONDS"), int(_number("LOADTESTS_USERS")))

    class Shape(LoadTestShape):
        """The users as the plan says; every second of the run is noted."""

        def tick(self) -> tuple[int, float] | None:
            """What Locust asks for about once a second: the users from now on, or None at the end."""
            now, present = self.get_run_time(), _present(self.runner.environment.stats.total)  # type: ignore[union-attr]
            users = users_at(_PLAN, now)
            _HISTORY.note(now, users or 0, present, sum(map(resident_bytes, _PIDS)) / 1e6 or None)
            return None if users is None else (users, _SPAWNED_PER_SECOND)


@events.quitting.add_listener
def _judge(environment: Environment, **_: Any) -> None:
    """Print the verdict; a missed threshold is the exit status 1."""
    if not _SHAPE or _SCALING or isinstance(environment.runner, WorkerRunner):
        return
    total, errors = environment.stats.total, environment.stats.errors.values()
    refused = sum(error.occurrences for error in errors if StatsError.parse_error(error.error).startswith("Refused"))
    times = [total.get_response_time_percentile(share) if total.num_requests else None for share in (0.5, 0.95, 0.99)]
    found = facts(_HISTORY, total.num_requests, total.num_failures, refused, times)
    checks = judge(found, BOUNDS[_SHAPE], remote=not _PIDS)
    print(report(_SHAPE, _HISTORY, checks), flush=True)
    environment.process_exit_code = 0 if all(check.met for check in checks) else 1
