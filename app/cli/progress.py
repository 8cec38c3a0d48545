"""Progress bars on standard error. Standard output has results only."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from app.cli.terminal import errors
from app.telemetry.printable import escaped
from retrieval.encoder.prepare import Progress as Report

_SILENT_S = 1.0  # what takes longer shows that it works, even before it can say how far it is


@contextmanager
def bar(title: str) -> Iterator[Report]:
    """A progress bar that appears with the first report, on a terminal after a second without one.

    A report has the step's name, steps done and total steps.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    progress, lock = Progress(*columns, console=errors), threading.Lock()

    def begin() -> None:
        with lock:
            if not progress.tasks:
                progress.add_task(title, total=None)
                progress.start()

    def report(step: str, done: int, total: int) -> None:
        begin()
        progress.update(progress.task_ids[0], description=escaped(step), completed=done, total=total)

    waiting = threading.Timer(_SILENT_S, begin)
    waiting.daemon = True
    if errors.is_terminal:
        waiting.start()
    try:
        yield report
    finally:
        waiting.cancel()
        if waiting.is_alive():
            waiting.join()  # a bar that is about to appear has done so
        if progress.tasks:
            progress.stop()
