"""Throughput with more replicas: `make load SHAPE=scaling`.

Worker processes of one server, then servers of their own behind a balancer; each process computes on one processor, so
that more of them are more of the same. Users with the PRD's mix never wait, and their keys have no limits.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.report import table, watch_others
from benchmarks.server import cpu_seconds
from loadtests.balancer import balanced
from loadtests.mix import Traffic
from loadtests.service import Target, load, started, warm
from scripts.debian import Missing

WORKERS, SERVERS = "worker processes", "servers"
PLAN = ((WORKERS, 1), (WORKERS, 2), (WORKERS, 4), (SERVERS, 1), (SERVERS, 2), (SERVERS, 3))
USERS, PER_SECOND = 24, 3  # they come over eight seconds, after which Locust forgets what it has counted
HEADINGS = ("replicas", "", "requests/s", "times one", "p50 / p95 ms", "lost", "processors they took", "others' work")


@contextmanager
def replicas(kind: str, count: int, traffic: Traffic) -> Iterator[Target]:
    """One server with so many processes, or so many servers behind a balancer; warm."""
    if kind == WORKERS:
        with started(workers=count, engine__processors=count) as (target,):
            for _ in range(6 * count):  # which process answers a connection is the kernel's choice, so many are made
                warm(target, traffic)
            yield target
        return
    with started(count, engine__processors=1) as targets:
        for target in targets:
            warm(target, traffic)
        with balanced([target.url for target in targets]) as url:
            yield replace(targets[0], url=url, pids=[pid for target in targets for pid in target.pids])


def measure(traffic: Traffic, seconds: float, reports: Path) -> int:
    """Let users load each number of replicas, print the table; 1 if a request failed. seconds: that count, of each."""
    rows, one, lost = [], dict[str, float](), 0
    for kind, count in PLAN:
        total, prefix = USERS / PER_SECOND + seconds, reports / f"scaling-{kind.replace(' ', '-')}-{count}"
        options = f"--users {USERS} --spawn-rate {PER_SECOND} --run-time {total:.0f}s --reset-stats --csv {prefix}"
        try:
            with replicas(kind, count, traffic) as target:
                before, others = sum(map(cpu_seconds, target.pids)), watch_others()
                load(target, "scaling", options.split(), total)
                taken = (sum(map(cpu_seconds, target.pids)) - before) / total
        except Missing as error:
            print(f"{count} {kind} not measured: {error}", file=sys.stderr)
            continue
        with Path(f"{prefix}_stats.csv").open(encoding="utf-8") as file:
            *_, found = csv.DictReader(file)  # the last row is of all requests
        rate, lost = float(found["Requests/s"]), lost + int(found["Failure Count"])
        figures = (f"{rate:.0f}", f"{rate / one.setdefault(kind, rate):.2f}", f"{found['50%']} / {found['95%']}")
        took = (f"{taken:.2f}", f"{max(0.0, others() - taken):.2f}")
        rows.append((kind, str(count), *figures, found["Failure Count"], *took))
    print(table(HEADINGS, rows))
    return 1 if lost else 0
