"""Throughput with more replicas: `make load SHAPE=scaling`, or `python -m loadtests.scaling --help`.

Worker processes of one server, then servers of their own behind a balancer; each process computes on one processor, so
that more of them are more of the same. Users with the PRD's mix never wait, and their keys have no limits.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.progress import track

from benchmarks.report import facts, table, watch_others
from benchmarks.server import cpu_seconds
from loadtests.__main__ import REPORTS
from loadtests.balancer import balanced
from loadtests.pool import COLLECTIONS, Traffic, open_traffic
from loadtests.service import Target, load, started, warm
from scripts.debian import Missing

WORKERS, INSTANCES = "worker processes", "servers"
PLAN = ((WORKERS, 1), (WORKERS, 2), (WORKERS, 4), (INSTANCES, 1), (INSTANCES, 2), (INSTANCES, 3))
USERS, PER_SECOND = 24, 3  # they come over eight seconds, after which Locust forgets what it has counted

cli = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


class Point(NamedTuple):
    """What so many replicas answered."""

    kind: str
    replicas: int
    row: Mapping[str, str]  # `Aggregated` of Locust's CSV
    processors: float  # that the replicas took, on average
    others: float  # that others' work took meanwhile


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


def measure(kind: str, count: int, target: Target, collections: Path, seconds: float, reports: Path) -> Point:
    """Let users load a warm service; what its first seconds bring does not count."""
    total, prefix = USERS / PER_SECOND + seconds, reports / f"scaling-{kind.replace(' ', '-')}-{count}"
    options = ["--users", str(USERS), "--spawn-rate", str(PER_SECOND), "--run-time", f"{total:.0f}s", "--reset-stats"]
    before, others = sum(map(cpu_seconds, target.pids)), watch_others()
    variables = {"LOADTESTS_COLLECTIONS": str(collections)}
    load(target, "scaling", [*options, "--csv", str(prefix)], total, variables)
    taken = (sum(map(cpu_seconds, target.pids)) - before) / total
    with Path(f"{prefix}_stats.csv").open(encoding="utf-8") as file:
        *_, everything = csv.DictReader(file)
    return Point(kind, count, everything, taken, max(0.0, others() - taken))


def report(points: Sequence[Point]) -> str:
    """One row a number of replicas; processors that they took, and that others' work took."""
    rows = []
    for each in points:
        one = next(float(first.row["Requests/s"]) for first in points if first.kind == each.kind) or 1.0
        per_second, times = float(each.row["Requests/s"]), f"{each.row['50%']} / {each.row['95%']}"
        rate = (f"{per_second:.0f}", f"{per_second / one:.2f}")
        taken = (f"{each.processors:.2f}", f"{each.others:.2f}")
        rows.append((each.kind, str(each.replicas), *rate, times, each.row["Failure Count"], *taken))
    headings = (
        "replicas",
        "",
        "requests/s",
        "times one",
        "p50 / p95 ms",
        "lost",
        "processors they took",
        "others' work",
    )
    return table(headings, rows)


@cli.command()
def main(
    seconds: Annotated[float, typer.Option(min=3, help="That count, of each number of replicas.")] = 20.0,
    collections: Annotated[Path, typer.Option(help="Where passages and queries are, in BEIR's layout.")] = COLLECTIONS,
    reports: Annotated[Path, typer.Option(help="Where Locust's CSV reports go.")] = REPORTS,
) -> None:
    """Measure worker processes and instances, print the table; exit status 1 if a request failed."""
    traffic, points = open_traffic(collections), list[Point]()
    reports.mkdir(parents=True, exist_ok=True)
    for kind, count in track(PLAN, "scaling", console=Console(stderr=True), transient=True):
        try:
            with replicas(kind, count, traffic) as target:
                points.append(measure(kind, count, target, collections, seconds, reports))
        except Missing as error:
            print(f"{count} {kind} not measured: {error}", file=sys.stderr)
    print(f"{facts()['processor']}\n\n{report(points)}")
    sys.exit(1 if any(each.row["Failure Count"] != "0" for each in points) else 0)


if __name__ == "__main__":
    try:
        cli()
    except RuntimeError as error:  # the service or Locust did not do its part; the message says what
        sys.exit(str(error))
