"""From what a few servers held to how much memory a deployment needs, also one larger than the machine they ran on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.report import number, table

BURST = 32  # requests at once
_FREE = 1.25  # so that the highest peak is no more than 80 % of the limit
_ROUND_MIB = 128


@dataclass(frozen=True)
class Configuration:
    """What one server is given."""

    workers: int
    processors: int  # of all workers together
    cache_mib: int  # of each worker
    requests: int  # in work at once in each worker
    queue: int = 64  # that may wait in each

    @property
    def sizes(self) -> tuple[str, ...]:
        """As the tables have them."""
        return tuple(map(str, (self.workers, self.processors, self.cache_mib, self.requests)))


@dataclass(frozen=True)
class Measured:
    """What one server took; memory in MiB, of all its processes."""

    given: Configuration
    ready_s: float
    idle: float  # resident
    cold_peak: float  # the most that it held while it read new texts, as the sum of its processes' own peaks
    warm_peak: float  # and while it ranked cached ones
    cache_mib: float  # that its caches held at the end

    @property
    def at_once(self) -> int:
        """Requests of a burst that were in work."""
        return min(self.given.workers * self.given.requests, BURST)

    @property
    def working(self) -> float:
        """What it took at most beyond its idle memory and its caches."""
        return max(self.cold_peak, self.warm_peak) - self.idle - self.cache_mib


@dataclass(frozen=True)
class Rule:
    """What memory is made of, in MiB."""

    idle: float  # of one worker
    supervisor: float  # of what watches over several
    working: float  # of one worker that works, whatever the number of requests
    request: float  # of each request in work, of 100 documents

    def peak(self, given: Configuration) -> float:
        """What all workers hold at most, their caches full and as many requests in work as they take."""
        worker = self.idle + self.working + given.cache_mib + given.requests * self.request
        return given.workers * worker + (self.supervisor if given.workers > 1 else 0)

    def limit(self, given: Configuration) -> int:
        """The memory limit of a container: a quarter more than its peak."""
        return _ROUND_MIB * math.ceil(_FREE * self.peak(given) / _ROUND_MIB)


@dataclass(frozen=True)
class Deployment:
    """A size that the chart has a values file for."""

    name: str
    replicas: str
    given: Configuration
    cpu: str  # request / limit


DEPLOYMENTS = (
    Deployment("memory-constrained", "1", Configuration(1, 1, 32, 4, 8), "0.5 / 1"),
    Deployment("small", "2", Configuration(1, 1, 128, 8, 32), "1 / 1"),
    Deployment("medium, air-gapped", "2", Configuration(2, 2, 256, 16, 32), "2 / 2"),
    Deployment("large", "3", Configuration(4, 4, 512, 16, 32), "4 / 4"),
    Deployment("high-throughput", "4 to 12", Configuration(8, 8, 512, 16, 32), "8 / 8"),
)


def rule(rows: Sequence[Measured]) -> Rule:
    """A line through what single workers took by requests in work, moved up until none lies above it.

    ValueError without two different numbers of requests in single workers, and a row of several workers.
    """
    single = [row for row in rows if row.given.workers == 1]
    several = next((row for row in rows if row.given.workers > 1), None)
    counts = [row.at_once for row in single]
    if len(set(counts)) < 2 or several is None:
        raise ValueError("the rule needs single workers with few and with many requests, and several workers")
    middle = sum(counts) / len(counts)
    slope = sum((count - middle) * row.working for count, row in zip(counts, single, strict=True))
    slope = max(0.0, slope / sum((count - middle) ** 2 for count in counts))
    working = max(row.working - slope * count for count, row in zip(counts, single, strict=True))
    idle = max(row.idle for row in single)
    return Rule(idle, max(0.0, several.idle - several.given.workers * idle), working, slope)


def report(rows: Sequence[Measured]) -> str:
    """The tables and the rule, as markdown."""
    found = rule(rows)
    law = (
        "```\n"
        f"limit = {_FREE} x (workers x (idle + working + cache + requests x request) + supervisor)\n"
        f"idle {found.idle:.0f}, working {found.working:.0f}, request {found.request:.1f}, "
        f"supervisor {found.supervisor:.0f} MiB (none for one worker)\n"
        "```"
    )
    given = ("workers, processors, cache MiB, requests", "ready, s", "idle", "peak, new texts", "peak, cached texts")
    measured = [
        (", ".join(row.given.sizes), *map(number, (row.ready_s, row.idle, row.cold_peak, row.warm_peak, row.cache_mib)))
        for row in rows
    ]
    sized = (
        "deployment,replicas,workers,processors,cache of each worker in MiB,requests of each worker,CPU request / limit"
    )
    derived = [
        (
            each.name,
            each.replicas,
            *each.given.sizes,
            each.cpu,
            number(found.peak(each.given)),
            str(found.limit(each.given)),
        )
        for each in DEPLOYMENTS
    ]
    headings = (*sized.split(","), "peak by the rule in MiB", "memory limit in MiB")
    return "\n\n".join((table((*given, "of it caches"), measured), law, table(headings, derived)))
