"""What came of each request, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from benchmarks.measure import percentile
from benchmarks.report import table


@dataclass
class Record:
    """One request. Times are of the monotonic clock, in seconds."""

    kind: str
    begun: float
    ended: float = 0.0  # when it was answered, or given up
    server: str = ""  # that answered
    failures: list[str] = field(default_factory=list)  # why an attempt was not answered rightly
    moved: int = 0  # how often the server said, before it took the request, that it restarts
    answered: bool = False

    @property
    def ms(self) -> float:
        """How long it took, attempts that failed included."""
        return 1000 * (self.ended - self.begun)


@dataclass(frozen=True)
class Summary:
    """A part of the rehearsal."""

    name: str
    seconds: float
    sent: int
    answered: int  # at last
    failed: int  # at first
    moved: int
    retried: int  # failed, and answered when they were sent again
    p50: float  # ms
    p95: float
    pause: float  # ms: the longest in which nobody was answered


def summary(name: str, records: Sequence[Record], start: float, end: float) -> Summary:
    """Of the requests that ended in a span of time; ValueError if none did."""
    mine = [record for record in records if start <= record.ended < end]
    if not mine:
        raise ValueError(f"{name}: nothing was asked")
    answers = sorted(record.ended for record in mine if record.answered)
    times = [record.ms for record in mine]
    failed = [record for record in mine if record.failures]
    return Summary(
        name,
        end - start,
        len(mine),
        sum(record.answered for record in mine),
        len(failed),
        sum(record.moved for record in mine),
        sum(record.answered for record in failed),
        percentile(times, 0.5),
        percentile(times, 0.95),
        1000 * max((b - a for a, b in pairwise([start, *answers, end])), default=0.0),
    )


def report(rows: Sequence[Summary]) -> str:
    """A table, as markdown."""
    headings = ("", "s", "sent", "answered", "failed", "retried", "moved", "p50 / p95 ms", "longest pause, ms")
    return table(
        headings,
        [
            (
                row.name,
                f"{row.seconds:.0f}",
                *(str(count) for count in (row.sent, row.answered, row.failed, row.retried, row.moved)),
                f"{row.p50:.0f} / {row.p95:.0f}",
                f"{row.pause:.0f}",
            )
            for row in rows
        ],
    )
