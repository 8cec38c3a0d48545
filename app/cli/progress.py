"""Progress on standard error, so that standard output stays clean for results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from app.cli.terminal import errors
from app.telemetry.printable import escaped
from retrieval.encoder.prepare import Progress as Report


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
