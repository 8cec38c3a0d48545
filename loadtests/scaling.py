"""Throughput with more replicas: `make load SHAPE=scaling`, or `python -m loadtests.scaling --help`.

Worker processes of one server, then servers of their own behind a balancer; each process computes on one processor, so
that more of them are more of the same. Users with the PRD's mix never wait, and their keys have no limits.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import orjson
import psutil
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import machine
from loadtests.balancer import NoBalancer, balanced
from loadtests.drive import drive
from loadtests.figures import Figures, within
from loadtests.plots import new_figure, write
from loadtests.pool import COLLECTIONS, Traffic, open_traffic
from loadtests.service import Target, started, warm, warm_workers

WORKERS, INSTANCES = (1, 2, 4), (1, 2, 3)
USERS = 24
SETTLING_S = 8.0  # do not count
REPORTS = Path(__file__).with_name("reports")

cli = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
out = Console(width=None if sys.stdout.isatty() else 100)


@dataclass(frozen=True)
class Point:
    """What so many replicas answered."""

    kind: str
    replicas: int
    figures: Figures
    processors: float  # that the replicas took, on average
    others: float = 0.0  # that others' work took meanwhile


@contextmanager
def workers(count: int, traffic: Traffic) -> Iterator[Target]:
    """One server with so many processes."""
    with started(workers=count, settings={"QRERANK_ENGINE__PROCESSORS": str(count)}) as (target,):
        warm_workers(target, traffic, count)
        yield target


@contextmanager
def instances(count: int, traffic: Traffic) -> Iterator[Target]:
    """So many servers behind a balancer."""
    with started(instances=count, settings={"QRERANK_ENGINE__PROCESSORS": "1"}) as targets:
        for target in targets:
            warm(target, traffic)
        with balanced([target.url for target in targets]) as url:
            yield replace(targets[0], url=url, pids=[pid for target in targets for pid in target.pids])


def measure(kind: str, count: int, target: Target, collections: Path, seconds: float) -> Point:
    """Let users load a warm service; what its first seconds bring does not count."""
    total = SETTLING_S + seconds
    options = ["--users", str(USERS), "--spawn-rate", "100", "--run-time", f"{total:.0f}s"]
    before = _processor_s(target.pids)
    run, _ = drive(
        target, {"LOADTESTS_COLLECTIONS": str(collections)}, options, locustfile="saturate.py", longest_s=total
    )
    took = (_processor_s(target.pids) - before) / run.seconds
    return Point(kind, count, within(run, SETTLING_S, run.ended), took)


def _processor_s(pids: Sequence[int]) -> float:
    """Seconds that processes and their children computed."""
    families = [psutil.Process(pid) for pid in pids]
    times = [each.cpu_times() for process in families for each in (process, *process.children(recursive=True))]
    return sum(float(time.user + time.system) for time in times)


def table(points: Sequence[Point]) -> Table:
    """One row a number of replicas; processors that they took, and that others' work took."""
    found = Table("replicas", show_edge=False)
    for heading in ("number", "requests/s", "times one", "p50 ms", "p95 ms", "lost", "processors", "others'"):
        found.add_column(heading, justify="right")
    for point in points:
        one = next(each.figures.per_second for each in points if each.kind == point.kind)
        figures = point.figures
        times = (f"{ms or 0:.0f}" for ms in (figures.p50_ms, figures.p95_ms))
        lost = str(figures.failed + figures.refused)
        rate = (f"{figures.per_second:.0f}", f"{figures.per_second / one:.2f}" if one else "")
        found.add_row(
            point.kind, str(point.replicas), *rate, *times, lost, f"{point.processors:.2f}", f"{point.others:.2f}"
        )
    return found


def draw(points: Sequence[Point], path: Path) -> None:
    """Throughput and p95 against replicas; SVG."""
    cores = psutil.cpu_count()
    figure, (rate, latency) = new_figure(
        2, f"{USERS} users who never wait, on {cores} cores shared with them", "replicas"
    )
    for kind, colour in (("worker processes", "#1f6feb"), ("instances", "#d9730d")):
        chosen = [point for point in points if point.kind == kind]
        counts = [point.replicas for point in chosen]
        rate.plot(counts, [point.figures.per_second for point in chosen], "o-", color=colour, label=kind)
        latency.plot(counts, [point.figures.p95_ms or 0.0 for point in chosen], "o-", color=colour, label=kind)
    for axes, label in ((rate, "requests/s"), (latency, "p95 ms")):
        axes.set_ylim(bottom=0)
        axes.set_ylabel(label)
        axes.set_xticks(sorted({*WORKERS, *INSTANCES}))
    rate.legend(loc="lower right", frameon=False)
    write(figure, path)


@cli.command()
def main(
    seconds: Annotated[float, typer.Option(min=3, help="That count, of each number of replicas.")] = 20.0,
    collections: Annotated[Path, typer.Option(help="Where passages and queries are, in BEIR's layout.")] = COLLECTIONS,
    reports: Annotated[Path, typer.Option(help="Where the report goes.")] = REPORTS,
    plot: Annotated[Path | None, typer.Option(help="Draw it here, as SVG.")] = None,
) -> None:
    """Measure worker processes and instances, print the table; exit status 1 if a request failed."""
    traffic, facts = open_traffic(collections), machine.facts()
    points: list[Point] = []
    plan: list[tuple[str, int, Callable[[int, Traffic], AbstractContextManager[Target]]]] = [
        ("worker processes", count, workers) for count in WORKERS
    ]
    plan += [("instances", count, instances) for count in INSTANCES]
    with Progress(console=out, transient=True) as progress:
        bar = progress.add_task("", total=len(plan))
        for kind, count, opened in plan:
            progress.update(bar, description=f"{count} {kind}")
            others = machine.watch_others()
            try:
                with opened(count, traffic) as target:
                    point = measure(kind, count, target, collections, seconds)
                points.append(replace(point, others=others()))
            except NoBalancer as error:
                out.print(f"{count} {kind} not measured: {error}", style="yellow")
            progress.advance(bar)
    reports.mkdir(parents=True, exist_ok=True)
    told = {"machine": facts, "users": USERS, "points": [asdict(point) for point in points]}
    (reports / "scaling.json").write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    if plot:
        draw(points, plot)
    out.print(facts["processor"], highlight=False)
    out.print(table(points))
    sys.exit(1 if any(point.figures.failed for point in points) else 0)


if __name__ == "__main__":
    try:
        cli()
    except RuntimeError as error:  # the service or Locust did not do its part; the message says what
        sys.exit(str(error))
