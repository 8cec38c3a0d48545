"""Users of three tiers with the PRD's mix: `locust -f loadtests/locustfile.py`. `python -m loadtests` uses it.

With LOADTESTS_SHAPE the users come as that shape says; without, as Locust's options or its page say.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # Locust adds only the file's own folder

from locust import LoadTestShape, events
from locust.env import Environment

from loadtests import users
from loadtests.figures import within
from loadtests.mix import TIERS
from loadtests.recorder import Recorder
from loadtests.shapes import PLANS, SETTLING_S, STRESS, Climb, stretched, users_at

_SPAWNED_PER_SECOND = 1000  # they come and go at once
_ANSWERED_S = 1.0  # what was sent later than so long ago may not have been answered yet
_SHAPE = os.environ.get(users.SHAPE, "")


class PublicUser(users.Caller):
    """Sends pairs and short lists, about once a second."""

    tier = "public"
    weight, seconds, asks = TIERS[tier].users, TIERS[tier].seconds, dict(TIERS[tier].asks)


class StandardUser(users.Caller):
    """Sends up to 50 documents."""

    tier = "standard"
    weight, seconds, asks = TIERS[tier].users, TIERS[tier].seconds, dict(TIERS[tier].asks)


class PremiumUser(users.Caller):
    """Sends up to 100 documents, faster than the others."""

    tier = "premium"
    weight, seconds, asks = TIERS[tier].users, TIERS[tier].seconds, dict(TIERS[tier].asks)


_recorders: list[Recorder] = []


@events.init.add_listener
def _record(environment: Environment, **_: Any) -> None:
    result = os.environ.get(users.RESULT)
    _recorders.append(Recorder(environment, _SHAPE or "free", Path(result) if result else None))


def _number(name: str) -> float | None:
    return float(os.environ[name]) if name in os.environ else None


if _SHAPE == STRESS:

    class Stress(LoadTestShape):
        """More users until it is too much; then back."""

        def __init__(self) -> None:
            super().__init__()
            self._climb = Climb()

        def tick(self) -> tuple[int, float] | None:
            """The users from now on."""
            run, now = _recorders[0].run, self.get_run_time()
            since, ended = run.started + self._climb.since + SETTLING_S, run.started + now - _ANSWERED_S
            asked = self._climb.next(now, within(run, since, ended).too_much)
            if asked is None:
                return None
            _recorders[0].mark(asked)
            return asked, _SPAWNED_PER_SECOND

elif _SHAPE:
    _PLAN = stretched(PLANS[_SHAPE], _number(users.SECONDS), int(_number(users.USERS) or 0))

    class Planned(LoadTestShape):
        """Users as the plan says."""

        def tick(self) -> tuple[int, float] | None:
            """The users from now on."""
            asked = users_at(_PLAN, self.get_run_time())
            if asked is None:
                return None
            _recorders[0].mark(asked)
            return asked, _SPAWNED_PER_SECOND
