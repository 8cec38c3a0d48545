"""The values that each worker of a service keeps in files, so that any of them can tell of all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from app.telemetry.catalogue import FAMILIES


class WorkerFiles(Collector):
    """What prometheus_client's files in a folder come to: in the catalogue's order, and without the gauges of the dead.

    What a dead worker counted stays counted.
    """

    def __init__(self, folder: Path) -> None:
        """folder: where PROMETHEUS_MULTIPROC_DIR points to."""
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        """Every metric, also those of which there is no series yet."""
        self._forget_dead()
        found = {metric.name: metric for metric in self._merged("*.db")}
        for family in FAMILIES:
            name = family.name.removesuffix("_total") if family.type == "counter" else family.name
            yield found.get(name) or Metric(name, family.help, family.type)

    def histograms(self) -> Iterable[Metric]:
        """The histograms alone, which takes less time."""
        return self._merged("histogram_*.db")

    def _merged(self, pattern: str) -> Iterable[Metric]:
        files = [str(file) for file in self._folder.glob(pattern) if _is_begun(file)]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return merged

    def _forget_dead(self) -> None:
        """Drop the gauges of workers that are no more: nobody else tells when one was killed."""
        for worker in {int(file.stem.rpartition("_")[2]) for file in self._folder.glob("gauge_live*.db")}:
            if not _lives(worker):
                with suppress(FileNotFoundError):  # another worker was quicker
                    mark_process_dead(worker, str(self._folder))  # type: ignore[no-untyped-call]


def _is_begun(file: Path) -> bool:
    """Whether there is anything in a file: a worker that just begins has made it, and one that died has it removed."""
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        return False


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
