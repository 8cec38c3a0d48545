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
from loadtests.pool import COLLECTIONS, open_traffic
from loadtests.service import Target, load, started, warm
from loadtests.shapes import LONGEST_S, PLANS, SHAPES, length_s

REPORTS = Path(__file__).with_name("reports")
cli = typer.Typer(pretty_exceptions_enable=False, add_completion=False)

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
    reports: Annotated[Path, typer.Option(help="Where Locust's HTML and CSV reports go.")] = REPORTS,
) -> None:
    """Load the service with users who ask as the PRD says; exit status 1 if a threshold is missed."""
    if shape not in SHAPES:
        raise typer.BadParameter(f"there are {', '.join(SHAPES)}", param_hint="--shape")
    traffic, machine, others = open_traffic(collections), facts(), watch_others()
    reports.mkdir(parents=True, exist_ok=True)
    with _target(host, key, pid) as target:
        print(f"warming: {len(traffic.passages)} passages of {traffic.source}", flush=True)
        warm(target, traffic)
        longest_s = seconds or LONGEST_S.get(shape) or length_s(PLANS[shape])
        print(f"{shape}: at most {longest_s:.0f} s", flush=True)
        variables = {"LOADTESTS_COLLECTIONS": str(collections)}
        variables |= {"LOADTESTS_SECONDS": str(seconds)} if seconds else {}
        variables |= {"LOADTESTS_USERS": str(users)} if users else {}
        files = ["--html", str(reports / f"{shape}.html"), "--csv", str(reports / shape), "--csv-full-history"]
        status = load(target, shape, files, longest_s, variables)
    print(f"{machine['processor']}; others' work took {others():.2f} of them meanwhile")
    print(f"reports: {reports / shape}.html and {shape}_*.csv")
    sys.exit(status)


@contextmanager
def _target(host: str | None, key: str | None, pid: int | None) -> Iterator[Target]:
    """The service that is named, or one of our own."""
    if host is None:
        with started() as targets:
            yield targets[0]
    elif answers(f"{host.rstrip('/')}/health/ready"):
        yield Target(host.rstrip("/"), key, None, [pid] if pid else [])
    else:
        raise RuntimeError(f"{host} is not ready; is the address right?")


if __name__ == "__main__":
    try:
        cli()
    except RuntimeError as error:  # the service or Locust did not do its part; the message says what
        sys.exit(str(error))
