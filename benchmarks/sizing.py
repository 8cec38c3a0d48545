"""What a deployment must be given: `python -m benchmarks.sizing` prints docs/deployment.md's tables in 6 to 8 minutes.

A real `qrerank serve` with the default model, once for each of a few configurations: how long it takes to be ready,
what it holds idle, and at most under bursts of large requests, of texts never seen before and of known ones. The
differences between configurations tell what a process, its cache and a request in work take (`benchmarks/sizes.py`).
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from benchmarks.capacity import cached, cpu_seconds, cut, unseen
from benchmarks.corpus import PASSAGE_TOKENS, Passages, open_passages
from benchmarks.load import drive
from benchmarks.machine import facts, watch_others
from benchmarks.report import table
from benchmarks.server import Server, family, ours
from benchmarks.sizes import BURST, Configuration, Measured, report

DOCUMENTS = 100  # of each request of a burst
WARM_DOCUMENTS, WARM_CLIENTS, WARM_S = 50, 8, 5.0
_TASKS = 5  # of which the known requests are made: they fit into the smallest cache
_SETTLED_S = 2.0  # after the first probe
_STEPS = 4  # of each configuration

CONFIGURATIONS = (
    Configuration(1, 1, 64, 4, 8),
    Configuration(1, 1, 64, 32),
    Configuration(1, 1, 256, 32),
    Configuration(1, 2, 512, 32),
    Configuration(2, 2, 256, 32),
)


def resident(pid: int) -> tuple[float, float]:
    """Resident and proportional memory of a process and its children, in MiB (Linux only)."""
    told = [_told(member, "smaps_rollup") for member in family(pid)]
    rss, pss = (sum(_kib(text, name) for text in told) for name in ("Rss", "Pss"))
    return rss / 1024, pss / 1024


def forget_peaks(pid: int) -> None:
    """Have the kernel begin anew with the peaks of a process and its children."""
    for member in family(pid):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            Path(f"/proc/{member}/clear_refs").write_text("5", encoding="ascii")


def peak(pid: int) -> float:
    """The sum of the most that a process and each of its children held since then, in MiB."""
    return sum(_kib(_told(member, "status"), "VmHWM") for member in family(pid)) / 1024


def _told(pid: int, file: str) -> str:
    """What the kernel tells of a process; nothing of one that has ended."""
    try:
        return Path(f"/proc/{pid}/{file}").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _kib(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) if found else 0  # a process that is ending has none


def measure(passages: Passages, given: Configuration, step: Callable[[], None]) -> Measured:
    """A server's row; RuntimeError if a request was refused or failed. step: called after each part."""
    begun = time.monotonic()
    with ours(
        workers=given.workers,
        engine__processors=given.processors,
        engine__requests=given.requests,
        engine__queue_requests=given.queue,
        cache__max_bytes=given.cache_mib * 2**20,
    ) as server:
        ready = time.monotonic() - begun
        time.sleep(_SETTLED_S)
        idle = resident(server.pid)
        step()
        clients = min(BURST, given.requests + given.queue)
        cold = burst(server, islice(unseen(passages, DOCUMENTS, PASSAGE_TOKENS), clients), clients)
        step()
        pools = passages.tasks(_TASKS, DOCUMENTS)
        known = cut(pools, DOCUMENTS)
        # Which worker answers is the kernel's choice: asked so often, each of them knows the texts.
        burst(server, islice(cycle(known), 6 * given.workers * len(known)), clients)
        warm = burst(server, islice(cycle(known), 4 * clients), clients)
        step()
        served = known_requests(server, cycle(cut(pools, WARM_DOCUMENTS)), min(WARM_CLIENTS, clients))
        texts, size = cached(server.port)
        step()
        return Measured(given, ready, *idle, cold, warm, size / 2**20, texts, *served)


def burst(server: Server, supply: Iterator[bytes], clients: int) -> float:
    """The most that a server holds while so many clients at once send all that there is, in MiB."""
    forget_peaks(server.pid)
    _refuse(drive(server.port, supply, clients, 3600).errors)
    return peak(server.pid)


def known_requests(server: Server, supply: Iterator[bytes], clients: int) -> tuple[float, float]:
    """Requests a second that so many clients get answered, and milliseconds of a core for each."""
    before = cpu_seconds(server.pid)
    load = drive(server.port, supply, clients, WARM_S)
    _refuse(load.errors)
    return load.per_second, 1000 * (cpu_seconds(server.pid) - before) / len(load.ms)


def _refuse(errors: int) -> None:
    if errors:
        raise RuntimeError(f"{errors} requests were refused or failed: no figure comes of that")


def main() -> None:
    """Measure and print."""
    machine, others = facts(), watch_others()
    passages = open_passages()
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("sizing", total=_STEPS * len(CONFIGURATIONS))
        rows = [measure(passages, given, lambda: progress.advance(bar)) for given in CONFIGURATIONS]
    machine["processors that others' work took meanwhile"] = f"{others():.2f}"
    sys.stdout.write(f"{table(('', ''), list(machine.items()))}\n\n{report(rows)}\n")


if __name__ == "__main__":
    main()
