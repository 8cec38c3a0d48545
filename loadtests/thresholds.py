"""What a run shows beside Locust's totals, and whether it kept to its thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import linear_regression
from typing import NamedTuple

from benchmarks.report import table
from loadtests.shapes import EVERY

WINDOW_S = 12.0  # Locust's present figures are of requests that are no older
Facts = Mapping[str, float | None]  # by the threshold's name; None where the run does not tell


class Present(NamedTuple):
    """What Locust tells of the last `WINDOW_S`."""

    per_second: float  # requests answered rightly
    p95_ms: float | None  # of all requests; None where there were none
    lost_percent: float

    @property
    def too_much(self) -> bool:
        """Whether this load is more than the service can take."""
        slow = self.p95_ms is None or self.p95_ms > EVERY["p95_ms"]
        return bool(slow or self.lost_percent >= EVERY["errors_below_percent"])


@dataclass
class History:
    """A run's memory and recovery, and the most users that were served as they should be before it was too much."""

    seconds: float = 0.0  # since the start
    users: int = 0
    since: float = 0.0  # when there came to be so many users
    back_at: float | None = None  # when the users first became fewer
    recovery_s: float | None = None  # from then until requests were answered as they should be
    memory: list[tuple[float, float]] = field(default_factory=list)  # seconds, and MB (10⁶ bytes) of the server
    knee: tuple[int, Present] | None = None
    broken: bool = False  # it was too much

    def note(self, seconds: float, users: int, present: Present, mb: float | None) -> None:
        """Note a second of the run. mb: None where the server is elsewhere."""
        if self.back_at is None and 0 < users < self.users:
            self.back_at = seconds
        if self.back_at is not None and self.recovery_s is None and not present.too_much:
            self.recovery_s = max(0.0, seconds - self.back_at - WINDOW_S)  # all of the window was well
        if users != self.users:
            self.since = seconds
        elif seconds - self.since >= WINDOW_S and not self.broken:
            self.broken = present.too_much
            self.knee = self.knee if self.broken else (users, present)
        self.seconds, self.users = seconds, users
        self.memory += [(seconds, mb)] if mb else []

    @property
    def growth_mb_per_hour(self) -> float | None:
        """The slope of the least-squares line through the run's second half, for caches and heaps fill in the first."""
        late = [each for each in self.memory if each[0] >= self.seconds / 2]
        if len(late) < 3:
            return None
        return 3600 * linear_regression([at for at, _ in late], [mb for _, mb in late]).slope


class Check(NamedTuple):
    """One threshold. A value that the run does not tell is not within it."""

    name: str
    value: float | None
    bound: str
    met: bool


def facts(history: History, requests: int, failures: int, refused: int, times: Sequence[float | None]) -> Facts:
    """What thresholds are held against, from Locust's totals.

    failures: the refused among them, too. times: p50, p95 and p99 in milliseconds.
    """
    errors = failures - refused
    return {
        "at_least_per_second": (requests - failures) / history.seconds if history.seconds else 0.0,
        **dict(zip(("p50_ms", "p95_ms", "p99_ms"), times, strict=True)),
        "most_errors": errors,
        "errors_below_percent": 100 * errors / requests if requests else 100.0,
        "most_refusals": refused,
        "rss_mb": max((mb for _, mb in history.memory), default=None),
        "rss_growth_mb_per_hour": history.growth_mb_per_hour,
        "recovery_s": history.recovery_s,
    }


def judge(found: Facts, bounds: Mapping[str, float], *, remote: bool = False) -> list[Check]:
    """Each threshold with what the run has. remote: the memory of a service elsewhere is not judged."""
    checks = []
    for name, bound in bounds.items():
        if not (remote and name.startswith("rss")):
            value, sign = found[name], "≥" if name.startswith("at_least") else "<" if "below" in name else "≤"
            met = value is not None and {"≥": value >= bound, "<": value < bound, "≤": value <= bound}[sign]
            checks.append(Check(name, value, f"{sign} {bound:g}", met))
    return checks


def report(shape: str, history: History, checks: Sequence[Check]) -> str:
    """Each threshold's verdict and the shape's; where it was too much, the knee, too."""
    lines = []
    if history.knee and history.broken:
        users, seen = history.knee
        lines.append(f"knee: {users} users, {seen.per_second:.0f} requests/s, p95 {seen.p95_ms or 0:.0f} ms")
    rows = [
        (name, "none" if value is None else f"{value:.4g}", bound, "met" if met else "MISSED")
        for name, value, bound, met in checks
    ]
    passed = all(check.met for check in checks)
    verdicts = table(("threshold", "measured", "bound", "verdict"), rows)
    return "\n".join([*lines, verdicts, f"{shape}: {'passed' if passed else 'FAILED'}"])
