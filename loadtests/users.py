"""What every simulated user does: send a request that its tier may send, and look at the answer."""

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

from loadtests.answers import PATHS, Refused, Wrong, check
from loadtests.mix import Kind
from loadtests.pool import COLLECTIONS, open_traffic

# How the command tells Locust's processes what to do; `locust -f loadtests/locustfile.py` takes them, too.
KEYS = "LOADTESTS_KEYS"  # a JSON file: lists of keys by tier; absent: requests have none
KEY = "LOADTESTS_KEY"  # one key for all users, in place of a file
FOLDER = "LOADTESTS_COLLECTIONS"
SHAPE = "LOADTESTS_SHAPE"
SECONDS = "LOADTESTS_SECONDS"
USERS = "LOADTESTS_USERS"
RESULT = "LOADTESTS_RESULT"  # where the run is written

_STRIDE = 1000  # keys of one of Locust's processes that lie between those of others, where there are enough

TRAFFIC = open_traffic(Path(os.environ.get(FOLDER, COLLECTIONS)))
_KEYS: dict[str, list[str]] = orjson.loads(Path(os.environ[KEYS]).read_bytes()) if KEYS in os.environ else {}
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
                    cut = check(kind, response.status_code, response.content or b"")
                except (Refused, Wrong) as error:
                    response.failure(error)
                else:
                    response.request_meta["context"] = {"cut": cut}

    def _key(self) -> str | None:
        if KEY in os.environ:
            return os.environ[KEY]
        if not _KEYS:
            return None
        keys = _KEYS.get(self.tier)
        if not keys:
            raise LocustError(f"the file of keys has none of the tier {self.tier}")
        runner = self.environment.runner
        mine = runner.worker_index if runner and hasattr(runner, "worker_index") else 0
        return keys[(next(_NUMBERS) + mine * _STRIDE) % len(keys)]
