"""The shapes of a load: how many users there are and when, and the thresholds that a run must keep to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

NORMAL_USERS = 50


class Stage(NamedTuple):
    """So many users for so long."""

    seconds: float
    users: int


PLANS: Mapping[str, Sequence[Stage]] = {
    "normal": [Stage(120, NORMAL_USERS)],
    "peak": [Stage(30, NORMAL_USERS), Stage(90, 2 * NORMAL_USERS), Stage(30, NORMAL_USERS)],
    "spike": [Stage(30, NORMAL_USERS), Stage(15, 8 * NORMAL_USERS), Stage(45, NORMAL_USERS)],
    "soak": [Stage(1200, NORMAL_USERS)],
    # Each step is longer than what Locust's present figures are of.
    "stress": [*(Stage(14, users) for users in range(NORMAL_USERS, 301, 10)), Stage(30, NORMAL_USERS)],
}

# Times are of all requests: a shape whose times are judged allows no refusals. Memory is resident, in MB (10⁶ bytes),
# of the server and its children. Errors are wrong or missing answers, refusals those with 429 or 503.
EVERY: dict[str, float] = {"p50_ms": 200, "p95_ms": 500, "p99_ms": 1000, "errors_below_percent": 1, "rss_mb": 2000}
_STEADY = EVERY | {"at_least_per_second": 40, "most_errors": 0, "most_refusals": 0}
# What cannot be answered in time is refused, on purpose, and then all is well again.
_BEYOND = {name: bound for name, bound in EVERY.items() if not name.endswith("_ms")} | {"recovery_s": 10}
BOUNDS: Mapping[str, Mapping[str, float]] = {
    "normal": _STEADY,
    "peak": EVERY | {"most_refusals": 0},
    "spike": _BEYOND,
    # In the second half, by the least-squares line. A leak of 600 bytes a request would be as much.
    "soak": _STEADY | {"rss_growth_mb_per_hour": 100},
    "stress": _BEYOND,
}


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
