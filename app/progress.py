"""Progress on standard error, so that standard output stays clean for results."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from app.printable import escaped
from app.terminal import errors
from retrieval.prepare import Progress as Report

log = logging.getLogger(__name__)


def log_progress(step: str, done: int, total: int) -> None:
    """Tell of a step where nobody watches a bar."""
    log.info("%s (%d of %d)", step, done, total)


@contextmanager
def bar(title: str) -> Iterator[Report]:
    """A bar that shows once the first report comes: what is done, steps done, steps in all."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with ExitStack() as shown:
        progress = Progress(*columns, console=errors)

        def report(step: str, done: int, total: int) -> None:
            if not progress.tasks:
                shown.enter_context(progress)
                progress.add_task(title)
            progress.update(progress.task_ids[0], description=escaped(step), completed=done, total=total)

        yield report
