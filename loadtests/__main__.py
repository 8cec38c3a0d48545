"""Loads the service and judges how it did: `make load`, or `python -m loadtests --help`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import machine
from loadtests import baseline
from loadtests.drive import drive
from loadtests.figures import by_kind, memory
from loadtests.plots import draw
from loadtests.pool import COLLECTIONS, Traffic, open_traffic
from loadtests.report import report, show
from loadtests.run import Run
from loadtests.service import Target, started, wait_until_ready, warm
from loadtests.shapes import AFTER_S, MOST_USERS, NORMAL_USERS, PLANS, SHAPES, STEP_S, STEP_USERS, STRESS, length_s
from loadtests.thresholds import bounds_of, judge, noise

REPORTS = Path(__file__).with_name("reports")
cli = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
out = Console(width=None if sys.stdout.isatty() else 100)  # no terminal: room for the tables

_EACH = (
    "normal: 50 users, 2 minutes; peak: twice as many; spike: eight times as many for 15 seconds; soak: 20 minutes; "
    "stress: more and more, until it is too much."
)


@cli.command()
def main(
    shape: Annotated[str, typer.Option(help=_EACH)] = "normal",
    seconds: Annotated[float | None, typer.Option(min=5, help="Stretch the shape to so long. Not for stress.")] = None,
    users: Annotated[int | None, typer.Option(min=1, help="In place of 50. Not for stress.")] = None,
    host: Annotated[str | None, typer.Option(help="A service that runs already. Absent: one is started.")] = None,
    key: Annotated[str | None, typer.Option(envvar="QRERANK_KEY", help="For it; best of the tier unlimited.")] = None,
    pid: Annotated[int | None, typer.Option(help="Its process, on this machine; then its memory is read.")] = None,
    collections: Annotated[Path, typer.Option(help="Where passages and queries are, in BEIR's layout.")] = COLLECTIONS,
    reports: Annotated[Path, typer.Option(help="Where reports go, and baselines.")] = REPORTS,
    save_baseline: Annotated[bool, typer.Option("--save-baseline", help="Later runs are compared with this.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if a figure is worse than the baseline's.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the run here, as SVG.")] = None,
) -> None:
    """Load the service with users who ask as the PRD says; exit status 1 if a threshold is missed."""
    if shape not in SHAPES:
        raise typer.BadParameter(f"there are {', '.join(SHAPES)}", param_hint="--shape")
    traffic, facts, others = open_traffic(collections), machine.facts(), machine.watch_others()
    with _target(host, key, pid) as target:
        run, log = _loaded(target, traffic, shape, collections, seconds, users, reports)
    out.print(log, markup=False, highlight=False, soft_wrap=True)
    facts["processors that others' work took meanwhile"] = taken = f"{others():.2f}"
    bounds = bounds_of(shape)
    told = report(run, bounds, facts, {"source": traffic.source, "passages": len(traffic.passages)})
    (reports / f"{shape}.json").write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    run.save(reports / f"{shape}.run.json")
    if plot:
        draw(run, plot)
    checks = judge(run, by_kind(run)["all"], memory(run.memory), bounds)
    show(out, run, checks)
    out.print(f"{facts['processor']}; others' work took {taken} of them meanwhile", highlight=False)
    found = _compare(told, reports, [seconds and f"{seconds:g}s", users and f"{users}users", host], save=save_baseline)
    out.print(f"reports: {reports / shape}.html, .json and .run.json", highlight=False, soft_wrap=True)
    passed = told["passed"] and not (strict and found)
    out.print(f"[bold {'green' if passed else 'red'}]{shape}: {'passed' if passed else 'FAILED'}[/]")
    sys.exit(0 if passed else 1)


@contextmanager
def _target(host: str | None, key: str | None, pid: int | None) -> Iterator[Target]:
    """The service that is named, or one of our own."""
    if host:
        wait_until_ready(host)
        yield Target(host.rstrip("/"), key, None, [pid] if pid else [])
        return
    with out.status("starting the service"), started() as targets:
        yield targets[0]


def _loaded(
    target: Target,
    traffic: Traffic,
    shape: str,
    collections: Path,
    seconds: float | None,
    users: int | None,
    reports: Path,
) -> tuple[Run, str]:
    """The run and what Locust printed, with a bar for the warm-up and one for the load."""
    reports.mkdir(parents=True, exist_ok=True)
    climb_s = STEP_S * (2 + (MOST_USERS - NORMAL_USERS) / STEP_USERS) + AFTER_S
    total = climb_s if shape == STRESS else seconds or length_s(PLANS[shape])
    variables = {"LOADTESTS_SHAPE": shape, "LOADTESTS_COLLECTIONS": str(collections)}
    variables |= {"LOADTESTS_SECONDS": str(seconds)} if seconds else {}
    variables |= {"LOADTESTS_USERS": str(users)} if users else {}
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True) as progress:
        warming = progress.add_task(f"warming: {len(traffic.passages)} passages of {traffic.source}", total=None)
        warm(target, traffic, lambda done, of: progress.update(warming, completed=done, total=of))
        bar = progress.add_task(f"{shape}: at most {total:.0f} s", total=total)
        return drive(
            target,
            variables,
            ["--html", str(reports / f"{shape}.html")],
            longest_s=total,
            step=lambda at: progress.update(bar, completed=at),
        )


def _compare(told: dict[str, Any], reports: Path, other: Sequence[object], *, save: bool) -> list[str]:
    """What is worse than the baseline, printed; the baseline is made where there is none.

    other: in what the run was not as its shape has it, which makes it another baseline's.
    """
    name = "-".join(map(str, filter(None, [told["shape"], *other])))
    path = baseline.path_of(reports, name, told["machine"]["processor"])
    before = baseline.read(path)
    if before is None or save:
        baseline.save(path, told)
        out.print(f"baseline saved: {path}", highlight=False, soft_wrap=True)
        return []
    found = baseline.worse(told, before, noise())
    for line in found:
        out.print(f"worse than on {before['date']}: {line}", style="yellow", markup=False, highlight=False)
    if not found:
        out.print(f"nothing is worse than on {before['date']} by more than noise", highlight=False)
    return found


if __name__ == "__main__":
    try:
        cli()
    except RuntimeError as error:  # the service or Locust did not do its part; the message says what
        sys.exit(str(error))
