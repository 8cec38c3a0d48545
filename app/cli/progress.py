"""Progress bars on standard error. Standard output has results only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from app.cli.terminal import errors
from app.telemetry.printable import escaped
from retrieval.encoder.prepare import Progress as Report


@contextmanager
def bar(title: str) -> Iterator[Report]:
    """A progress bar that appears with the first report. A report has the step's name, steps done and total steps."""
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
