"""Loads the service and judges how it did: `make load`, or `python -m loadtests --help`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.report import facts, watch_others
from benchmarks.server import answers
from loadtests import scaling
from loadtests.mix import open_traffic
from loadtests.service import Target, load, started, warm
from loadtests.shapes import PLANS, length_s

SHAPES = (*PLANS, "scaling")
REPORTS = Path(__file__).with_name("reports")
cli = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@cli.command()
def main(
    shape: Annotated[str, typer.Option(help=f"{', '.join(SHAPES)}: see docs/load-tests.md.")] = "normal",
    seconds: Annotated[float | None, typer.Option(min=5, help="Stretch the shape to so long.")] = None,
    users: Annotated[int | None, typer.Option(min=1, help="In place of 50.")] = None,
    host: Annotated[str | None, typer.Option(help="A service that runs already. Absent: one is started.")] = None,
    key: Annotated[str | None, typer.Option(envvar="QRERANK_KEY", help="For it; best of the tier unlimited.")] = None,
    reports: Annotated[Path, typer.Option(help="Where Locust's reports go.")] = REPORTS,
) -> None:
    """Load the service with users who ask as the PRD says; exit status 1 if a threshold is missed."""
    if shape not in SHAPES:
        raise typer.BadParameter(f"there are {', '.join(SHAPES)}", param_hint="--shape")
    traffic, machine, others = open_traffic(), facts(), watch_others()
    reports.mkdir(parents=True, exist_ok=True)
    if shape == "scaling":
        print(f"{machine['processor']}\n", flush=True)
        sys.exit(scaling.measure(traffic, seconds or 20, reports))
    with _target(host, key) as target:
        print(f"warming: {len(traffic.passages)} passages", flush=True)
        warm(target, traffic)
        longest_s = seconds or length_s(PLANS[shape])
        print(f"{shape}: {longest_s:.0f} s", flush=True)
        variables = {"LOADTESTS_SECONDS": str(seconds or 0), "LOADTESTS_USERS": str(users or 0)}
        files = ["--html", str(reports / f"{shape}.html"), "--csv", str(reports / shape), "--csv-full-history"]
        status = load(target, shape, files, longest_s, **variables)
    print(f"{machine['processor']}; others' work took {others():.2f} of them meanwhile")
    print(f"reports: {reports / shape}.html and {shape}_*.csv")
    sys.exit(status)


@contextmanager
def _target(host: str | None, key: str | None) -> Iterator[Target]:
    """The service that is named, or one of our own."""
    if host is None:
        with started() as targets:
            yield targets[0]
    elif answers(f"{host.rstrip('/')}/health/ready"):
        yield Target(host.rstrip("/"), key, None, [])
    else:
        raise RuntimeError(f"{host} is not ready; is the address right?")


if __name__ == "__main__":
    try:
        cli()
    except RuntimeError as error:  # the service or Locust did not do its part; the message says what
        sys.exit(str(error))
