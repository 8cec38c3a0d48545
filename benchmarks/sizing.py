"""What a deployment must be given: `python -m benchmarks sizing` prints docs/deployment.md's tables in 6 minutes.

A real `qrerank serve` with the default model, once for each of a few configurations: how long it takes to be ready,
what it holds idle, and at most under bursts of large requests, of texts never seen before and of cached ones. The
differences between configurations tell what a process, its cache and a request in work take, and from that follows
the memory of deployments that are larger than the machine that they were measured on.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from statistics import linear_regression
from typing import NamedTuple

from rich.console import Console
from rich.progress import track

from benchmarks.capacity import cached, first, serve, unseen
from benchmarks.corpus import PASSAGE_TOKENS, Passages, open_passages
from benchmarks.report import number, on_this_machine, table
from benchmarks.server import Server, family, ours
from benchmarks.wire import Request

BURST, DOCUMENTS = 32, 100  # requests at once, and documents of each
_TASKS = 5  # of which the cached requests are made: they fit into the smallest cache
_SETTLED_S = 2.0  # after the first probe
_FREE = 1.25  # so that the highest peak is no more than 80 % of the limit
_ROUND_MIB = 128


class Configuration(NamedTuple):
    """What one server is given."""

    workers: int
    processors: int  # of all workers together
    cache_mib: int  # of each worker
    requests: int  # in work at once in each worker
    queue: int = 64  # that may wait in each


class Measured(NamedTuple):
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


class Rule(NamedTuple):
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


class Deployment(NamedTuple):
    """A size that the chart has a values file for."""

    name: str
    replicas: str
    given: Configuration
    cpu: str  # request / limit


# To be measured: single workers with few and with many requests, and several workers.
CONFIGURATIONS = (
    Configuration(1, 1, 64, 4, 8),
    Configuration(1, 1, 64, 32),
    Configuration(1, 1, 256, 32),
    Configuration(1, 2, 512, 32),
    Configuration(2, 2, 256, 32),
)
DEPLOYMENTS = (
    Deployment("memory-constrained", "1", Configuration(1, 1, 32, 4, 8), "0.5 / 1"),
    Deployment("small", "2", Configuration(1, 1, 128, 8, 32), "1 / 1"),
    Deployment("medium, air-gapped", "2", Configuration(2, 2, 256, 16, 32), "2 / 2"),
    Deployment("large", "3", Configuration(4, 4, 512, 16, 32), "4 / 4"),
    Deployment("high-throughput", "4 to 12", Configuration(8, 8, 512, 16, 32), "8 / 8"),
)


def forget_peaks(pid: int) -> None:
    """Have the kernel begin anew with the peaks of a process and its children."""
    for member in family(pid):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            Path(f"/proc/{member}/clear_refs").write_text("5", encoding="ascii")


def peak(pid: int) -> float:
    """The sum of the most that a process and each of its children held since then, in MiB (Linux only)."""
    kib = 0
    for member in family(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            status = Path(f"/proc/{member}/status").read_text(encoding="utf-8", errors="replace")
            found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
            kib += int(found[1]) if found else 0  # a process that is ending has none
    return kib / 1024


def burst(server: Server, supply: Iterator[Request], clients: int) -> float:
    """The most that a server holds while so many clients at once send all that there is, in MiB."""
    forget_peaks(server.pid)
    serve(server, supply, clients, 3600)
    return peak(server.pid)


def measure(passages: Passages, given: Configuration) -> Measured:
    """A server's row; RuntimeError if a request was refused or failed: no figure comes of that."""
    begun = time.monotonic()
    with ours(
        workers=given.workers,
        engine__processors=given.processors,
        engine__requests=given.requests,
        engine__queue_requests=given.queue,
        cache__max_bytes=given.cache_mib * 2**20,
    ) as server:
        ready = time.monotonic() - begun
        time.sleep(_SETTLED_S)
        idle = server.resident_mb()
        clients = min(BURST, given.requests + given.queue)
        cold = burst(server, islice(unseen(passages, DOCUMENTS, PASSAGE_TOKENS), clients), clients)
        known = first(passages.tasks(_TASKS, DOCUMENTS), DOCUMENTS)
        # Which worker answers is the kernel's choice: asked so often, each of them has the texts in its cache.
        burst(server, islice(cycle(known), 6 * given.workers * len(known)), clients)
        warm = burst(server, islice(cycle(known), 4 * clients), clients)
        return Measured(given, ready, idle, cold, warm, cached(server.port)[1] / 2**20)


def rule(rows: Sequence[Measured]) -> Rule:
    """A line through what single workers took by requests in work, moved up until none lies above it."""
    single = [row for row in rows if row.given.workers == 1]
    several = next(row for row in rows if row.given.workers > 1)
    counts, working = [row.at_once for row in single], [row.working for row in single]
    slope = max(0.0, linear_regression(counts, working).slope)
    fixed = max(took - slope * count for count, took in zip(counts, working, strict=True))
    idle = max(row.idle for row in single)
    return Rule(idle, max(0.0, several.idle - several.given.workers * idle), fixed, slope)


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
    took = "workers, processors, cache MiB, requests;ready, s;idle;peak, new texts;peak, cached texts;of it caches"
    measured = [(", ".join(map(str, given[:4])), *map(number, figures)) for given, *figures in rows]
    sized = (
        "deployment;replicas;workers;processors;cache of each worker in MiB;requests of each worker;"
        "CPU request / limit;peak by the rule in MiB;memory limit in MiB"
    )
    derived = [
        (name, replicas, *map(str, given[:4]), cpu, number(found.peak(given)), str(found.limit(given)))
        for name, replicas, given, cpu in DEPLOYMENTS
    ]
    return "\n\n".join((table(took.split(";"), measured), law, table(sized.split(";"), derived)))


def main() -> None:
    """Measure and print."""
    machine, passages = on_this_machine(), open_passages()
    configurations = track(CONFIGURATIONS, "sizing", console=Console(stderr=True))
    rows = [measure(passages, given) for given in configurations]
    print(f"{machine()}\n\n{report(rows)}")
