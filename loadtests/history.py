"""A run second by second, from Locust's own counts: what came of a stretch of it, the recovery, and memory."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

THRESHOLDS = Path(__file__).with_name("thresholds.toml")
_ALL = tomllib.loads(THRESHOLDS.read_text(encoding="utf-8"))["all"]
P95_MS, LOST_PERCENT = float(_ALL["p95_ms"]), float(_ALL["errors_below_percent"])  # beyond which a load is too much
WINDOW_S = 5.0  # over which a service counts as recovered, or not


class Snapshot(NamedTuple):
    """What Locust had counted so many seconds after the start."""

    at: float
    users: int  # asked for from now on
    requests: int
    failures: int  # refused or wrong
    response_times: Mapping[int, int]  # requests by milliseconds, which Locust rounds to two digits
    mb: float | None = None  # memory of the server and its children


@dataclass(frozen=True)
class Window:
    """What came of the requests that ended in a stretch of the run."""

    per_second: float  # answered
    p95_ms: float | None  # of all requests; None where there were none
    lost_percent: float

    @property
    def too_much(self) -> bool:
        """Whether this load is more than the service can take."""
        return self.p95_ms is None or self.p95_ms > P95_MS or self.lost_percent >= LOST_PERCENT


@dataclass
class History:
    """A run's snapshots in their order; of a stress run, also the most users that were served, and how."""

    snapshots: list[Snapshot] = field(default_factory=list)
    knee: tuple[int, Window] | None = None

    @property
    def seconds(self) -> float:
        """How long it took so far."""
        return self.snapshots[-1].at if self.snapshots else 0.0

    def window(self, start: float, end: float) -> Window:
        """What came of a stretch, to the second."""
        within = [each for each in self.snapshots if start <= each.at <= end]
        if len(within) < 2 or within[-1].requests == within[0].requests:
            return Window(0.0, None, 0.0)
        first, last = within[0], within[-1]
        requests, failures = last.requests - first.requests, last.failures - first.failures
        times = Counter(last.response_times) - Counter(first.response_times)
        per_second = (requests - failures) / (last.at - first.at)
        return Window(per_second, _p95(times), 100 * failures / requests)

    @property
    def back_at(self) -> float | None:
        """When the users first became fewer; None where they did not."""
        return next((b.at for a, b in pairwise(self.snapshots) if 0 < b.users < a.users), None)

    @property
    def recovery_s(self) -> float | None:
        """Seconds from the return to fewer users until requests are answered as they should be; None if they never are.

        It is the first whole second after which all within `WINDOW_S` is within the thresholds; 0 without a return.
        """
        back = self.back_at
        if back is None:
            return 0.0
        starts = range(max(0, int(self.seconds - back - WINDOW_S) + 1))
        well = (later for later in starts if not self.window(back + later, back + later + WINDOW_S).too_much)
        return next(map(float, well), None)

    @property
    def most_mb(self) -> float | None:
        """The most memory that the server held, in MB (10⁶ bytes)."""
        return max((each.mb for each in self.snapshots if each.mb is not None), default=None)

    @property
    def growth_mb_per_hour(self) -> float | None:
        """The slope of the least-squares line through the run's second half, for caches and heaps fill in the first."""
        series = [(each.at, each.mb) for each in self.snapshots if each.mb is not None and each.at >= self.seconds / 2]
        if len(series) < 3:
            return None
        at, mb = np.array(series, dtype=np.float64).T
        return 3600 * float(np.polyfit(at - at[0], mb, 1)[0])


def _p95(times: Counter[int]) -> float | None:
    """The nearest rank; None of nothing."""
    left = 0.95 * times.total()
    for ms in sorted(times):
        left -= times[ms]
        if left <= 0:
            return float(ms)
    return None
