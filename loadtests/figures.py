"""Figures of a run: percentiles by kind of request, memory, the knee, the recovery."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measure import percentile
from loadtests.run import Run, Sample

THRESHOLDS = Path(__file__).with_name("thresholds.toml")
_ALL = tomllib.loads(THRESHOLDS.read_text(encoding="utf-8"))["all"]
P95_MS, LOST_PERCENT = float(_ALL["p95_ms"]), float(_ALL["errors_below_percent"])  # beyond which a load is too much
WINDOW_S = 5.0  # over which a service counts as recovered, or not


@dataclass(frozen=True)
class Figures:
    """What came of some requests. Times are of those that were answered: a refusal is quick, and no answer."""

    requests: int
    failed: int
    refused: int
    cut: int  # answered, but with documents unread for their deadline
    per_second: float  # answered
    p50_ms: float | None  # None where nothing was answered
    p95_ms: float | None
    p99_ms: float | None

    @property
    def lost_percent(self) -> float:
        """How many were not answered."""
        return 100 * (self.failed + self.refused) / self.requests if self.requests else 0.0

    @property
    def too_much(self) -> bool:
        """Whether this load is more than the service can take."""
        return self.p95_ms is None or self.p95_ms > P95_MS or self.lost_percent >= LOST_PERCENT


def figures(samples: Sequence[Sample], seconds: float) -> Figures:
    """The figures of what was sent in so many seconds."""
    outcomes = Counter(sample.outcome for sample in samples)
    answered = sorted(sample.ms for sample in samples if sample.outcome in {"ok", "cut"})
    p50, p95, p99 = (percentile(answered, share) if answered else None for share in (0.5, 0.95, 0.99))
    rate = len(answered) / seconds if seconds > 0 else 0.0
    return Figures(len(samples), outcomes["failed"], outcomes["refused"], outcomes["cut"], rate, p50, p95, p99)


def within(run: Run, start: float, end: float) -> Figures:
    """The figures of what was sent between two times."""
    return figures(run.between(start, end), end - start)


def by_kind(run: Run) -> dict[str, Figures]:
    """The figures of each kind of request, and of `all`."""
    kinds = {kind: [s for s in run.samples if s.kind == kind] for kind in sorted({s.kind for s in run.samples})}
    found = {kind: figures(samples, run.seconds) for kind, samples in kinds.items()}
    return found | {"all": figures(run.samples, run.seconds)}


def recovery_s(run: Run) -> float | None:
    """Seconds from the return to fewer users until what is sent is answered as it should be; None if it never was.

    It is the first whole second after which everything that was sent within `WINDOW_S` is within the thresholds.
    0 where the users never went back.
    """
    back = next((mark for mark in run.marks if mark.back), None)
    if back is None:
        return 0.0
    later = 0
    while back.at + later + WINDOW_S <= run.ended:
        start = back.at + later
        if not within(run, start, start + WINDOW_S).too_much:
            return float(later)
        later += 1
    return None


@dataclass(frozen=True)
class Knee:
    """The most users that were served within the thresholds, and the fewest that were not."""

    users: int
    per_second: float
    p95_ms: float | None
    broken_at: int | None  # users; None where the load was never too much
    broken_p95_ms: float | None = None
    broken_lost_percent: float = 0.0


def knee(run: Run, settling_s: float) -> Knee | None:
    """The knee of a run whose users came in steps; None where the first step was too much already.

    settling_s: how much of each step does not count.
    """
    held: Knee | None = None
    climb = [mark for mark in run.marks if not mark.back]
    ends = [mark.at for mark in run.marks[1:]] + [run.ended]
    for mark, end in zip(climb, ends, strict=False):
        found = within(run, mark.at + settling_s, end)
        if found.too_much:
            if held is None:
                return None
            broken = (mark.users, found.p95_ms, found.lost_percent)
            return Knee(held.users, held.per_second, held.p95_ms, *broken)
        held = Knee(mark.users, found.per_second, found.p95_ms, None)
    return held


@dataclass(frozen=True)
class Memory:
    """Resident memory of the server and its children, MB (10⁶ bytes)."""

    first: float
    last: float
    most: float
    growth_per_hour: float  # slope of the least-squares line through the second half of the run


def memory(series: Sequence[tuple[float, float]], skipped: float = 0.5) -> Memory | None:
    """What a series of (seconds, MB) says; None for fewer than three readings after the skipped part of the time.

    skipped: the part of the time in which memory may grow, because caches and heaps fill.
    """
    if not series:
        return None
    first, last = series[0][0], series[-1][0]
    rest = [(at, mb) for at, mb in series if at >= first + skipped * (last - first)]
    if len(rest) < 3 or rest[0][0] == rest[-1][0]:
        return None
    seconds, megabytes = np.array(rest).T
    slope = float(np.polyfit(seconds - seconds[0], megabytes, 1)[0])
    return Memory(series[0][1], series[-1][1], max(mb for _, mb in series), 3600 * slope)
