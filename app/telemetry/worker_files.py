"""Metrics of all workers of a service, read from the files that each worker writes."""

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
    """Aggregates prometheus_client's files in a folder, in the order of the catalogue.

    Counters and histograms of dead workers still count; their gauges do not.
    """

    def __init__(self, folder: Path) -> None:
        """folder: the path in PROMETHEUS_MULTIPROC_DIR."""
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        """All metric families, including those without series."""
        self._remove_dead_gauges()
        metrics = {metric.name: metric for metric in self._merged("*.db")}
        for family in FAMILIES:
            name = family.name.removesuffix("_total") if family.type == "counter" else family.name
            yield metrics.get(name) or Metric(name, family.help, family.type)

    def histograms(self) -> Iterable[Metric]:
        """The histograms alone, which is faster."""
        return self._merged("histogram_*.db")

    def _merged(self, pattern: str) -> Iterable[Metric]:
        files = [str(file) for file in self._folder.glob(pattern) if _is_written(file)]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return merged

    def _remove_dead_gauges(self) -> None:
        """Delete the gauge files of dead workers: a killed worker cannot delete its own."""
        for worker in {int(file.stem.rpartition("_")[2]) for file in self._folder.glob("gauge_live*.db")}:
            if not _is_alive(worker):
                with suppress(FileNotFoundError):  # another worker deleted it first
                    mark_process_dead(worker, str(self._folder))  # type: ignore[no-untyped-call]


def _is_written(file: Path) -> bool:
    """Whether a file has content: a starting worker's may be empty, and a dead worker's may be deleted meanwhile."""
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
