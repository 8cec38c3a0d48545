"""Users, shapes and the verdict for Locust: `locust -f loadtests/locustfile.py`. `python -m loadtests` uses it.

With LOADTESTS_SHAPE the users come as that shape says, and the run is judged; without, as Locust's options or its page
say.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # Locust adds only the file's own folder

from locust import LoadTestShape, events
from locust.env import Environment
from locust.runners import WorkerRunner
from locust.stats import StatsEntry, StatsError

from benchmarks.server import resident_bytes
from loadtests.shapes import PLANS, STRESS, Climb, stretched, users_at
from loadtests.thresholds import History, Present, bounds_of, facts, judge, report
from loadtests.users import SCALING, PremiumUser, PublicUser, StandardUser, TirelessUser

__all__ = ["PremiumUser", "PublicUser", "StandardUser", "TirelessUser"]  # Locust takes what it finds here

_SPAWNED_PER_SECOND = 1000  # they come and go at once
_SHAPE = os.environ.get("LOADTESTS_SHAPE", "")
_PIDS = [int(pid) for pid in os.environ.get("LOADTESTS_PIDS", "").split()]
_HISTORY = History()


def _number(name: str) -> float:
    return float(os.environ.get(name, "0"))


def _present(total: StatsEntry) -> Present:
    """Locust's figures of the last seconds; its percentile of no requests is 0."""
    sent, lost = total.current_rps, total.current_fail_per_sec
    p95_ms = total.get_current_response_time_percentile(0.95) or None
    return Present(sent - lost, p95_ms, 100 * lost / sent if sent else 0.0)


if _SHAPE and not SCALING:

    class Shape(LoadTestShape):
        """The users as the plan or the climb says; every second of the run is noted."""

        def __init__(self) -> None:
            super().__init__()
            self._climb = Climb()
            plan = PLANS.get(_SHAPE, ())
            self._plan = stretched(plan, _number("LOADTESTS_SECONDS"), int(_number("LOADTESTS_USERS"))) if plan else []

        def tick(self) -> tuple[int, float] | None:
            """What Locust asks for about once a second: the users from now on, or None at the end."""
            now, present = self.get_run_time(), _present(self.runner.environment.stats.total)  # type: ignore[union-attr]
            users = self._climbed(now, present) if _SHAPE == STRESS else users_at(self._plan, now)
            _HISTORY.note(now, users or 0, present, sum(map(resident_bytes, _PIDS)) / 1e6 or None)
            return None if users is None else (users, _SPAWNED_PER_SECOND)

        def _climbed(self, now: float, present: Present) -> int | None:
            held, users = self._climb.held, self._climb.next(now, present.too_much)
            if self._climb.held > held:
                _HISTORY.knee = (self._climb.held, present)
            return users


@events.quitting.add_listener
def _judge(environment: Environment, **_: Any) -> None:
    """Print the verdict; a missed threshold is the exit status 1."""
    if not _SHAPE or SCALING or isinstance(environment.runner, WorkerRunner):
        return
    total, errors = environment.stats.total, environment.stats.errors.values()
    refused = sum(error.occurrences for error in errors if StatsError.parse_error(error.error).startswith("Refused"))
    times = [total.get_response_time_percentile(share) if total.num_requests else None for share in (0.5, 0.95, 0.99)]
    found = facts(_HISTORY, total.num_requests, total.num_failures, refused, times)
    checks = judge(found, bounds_of(_SHAPE), remote=not _PIDS)
    print(report(_SHAPE, _HISTORY, checks), flush=True)
    environment.process_exit_code = 0 if all(check.met for check in checks) else 1
