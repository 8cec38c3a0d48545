"""Progress on standard error, so that standard output stays clean for results."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from retrieval.prepare import Progress as Report

errors = Console(stderr=True)
log = logging.getLogger(__name__)


def log_progress(step: str, done: int, total: int) -> None:
    """Tell of a step where nobody watches a bar."""
    log.info("%s (%d of %d)", step, done, total)


@contextmanager
def bar(title: str) -> Iterator[Report]:
    """A bar that shows once the first report comes: what is done, steps done, steps in all."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task(title, total=None, visible=False)

        def report(step: str, done: int, total: int) -> None:
            progress.update(task, description=step, completed=done, total=total, visible=True)

        yield report
