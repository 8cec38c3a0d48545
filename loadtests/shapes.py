"""How many users there are, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

NORMAL_USERS = 50

STEP_S = 14.0  # of each step of the stress shape: longer than what Locust's present figures are of
STEP_USERS = 10
MOST_USERS = 500
AFTER_S = 30.0  # at normal load, once the service broke


class Stage(NamedTuple):
    """So many users for so long."""

    seconds: float
    users: int


PLANS: Mapping[str, Sequence[Stage]] = {
    "normal": [Stage(120, NORMAL_USERS)],
    "peak": [Stage(30, NORMAL_USERS), Stage(90, 2 * NORMAL_USERS), Stage(30, NORMAL_USERS)],
    "spike": [Stage(30, NORMAL_USERS), Stage(15, 8 * NORMAL_USERS), Stage(45, NORMAL_USERS)],
    "soak": [Stage(1200, NORMAL_USERS)],
}
STRESS = "stress"
SHAPES = (*PLANS, STRESS)
LONGEST_S = {STRESS: STEP_S * (2 + (MOST_USERS - NORMAL_USERS) / STEP_USERS) + AFTER_S}  # of a shape without a plan


def length_s(plan: Sequence[Stage]) -> float:
    """How long a plan takes."""
    return sum(stage.seconds for stage in plan)


def stretched(plan: Sequence[Stage], seconds: float | None = None, users: int | None = None) -> list[Stage]:
    """The plan over another time, and with so many users in place of the normal number."""
    time = seconds / length_s(plan) if seconds else 1.0
    more = users / NORMAL_USERS if users else 1.0
    return [Stage(stage.seconds * time, max(1, round(stage.users * more))) for stage in plan]


def users_at(plan: Sequence[Stage], seconds: float) -> int | None:
    """The users at a time; None after the end."""
    for stage in plan:
        if seconds < stage.seconds:
            return stage.users
        seconds -= stage.seconds
    return None


class Climb:
    """More and more users until it is too much, twice as many to be sure, then the normal number for a while."""

    def __init__(self, users: int = NORMAL_USERS, step: int = STEP_USERS) -> None:
        """Begin with so many users; so many more come with each step."""
        self._normal = self.users = users
        self._step = step
        self._since = 0.0  # seconds, when the present number of users was asked for
        self.held = 0  # the most users that were not too much
        self.broken = self.back = False

    def next(self, now: float, too_much: bool) -> int | None:
        """The users from now on; None once it is over.

        now: seconds since the start. too_much: whether the present load is.
        """
        if now - self._since < (AFTER_S if self.back else STEP_S):
            return self.users
        if self.back:
            return None
        self.back = self.broken
        if not (too_much or self.broken):
            self.held = self.users
        self.broken = too_much or self.broken or self.users + self._step > MOST_USERS
        if self.back:
            self.users = self._normal
        else:
            self.users = 2 * self.users if self.broken else self.users + self._step
        self._since = now
        return self.users
