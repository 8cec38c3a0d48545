"""What a deployment must be given: `python -m benchmarks.sizing` prints docs/deployment.md's tables in 6 minutes.

A real `qrerank serve` with the default model, once for each of a few configurations: how long it takes to be ready,
what it holds idle, and at most under bursts of large requests, of texts never seen before and of cached ones. The
differences between configurations tell what a process, its cache and a request in work take (`benchmarks/sizes.py`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path

from rich.console import Console
from rich.progress import track

from benchmarks.capacity import cached, first, serve, unseen
from benchmarks.corpus import PASSAGE_TOKENS, Passages, open_passages
from benchmarks.report import on_this_machine
from benchmarks.server import Server, family, ours
from benchmarks.sizes import BURST, Configuration, Measured, report

DOCUMENTS = 100  # of each request of a burst
_TASKS = 5  # of which the cached requests are made: they fit into the smallest cache
_SETTLED_S = 2.0  # after the first probe

CONFIGURATIONS = (
    Configuration(1, 1, 64, 4, 8),
    Configuration(1, 1, 64, 32),
    Configuration(1, 1, 256, 32),
    Configuration(1, 2, 512, 32),
    Configuration(2, 2, 256, 32),
)


def forget_peaks(pid: int) -> None:
    """Have the kernel begin anew with the peaks of a process and its children."""
    for member in family(pid):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            Path(f"/proc/{member}/clear_refs").write_text("5", encoding="ascii")


def peak(pid: int) -> float:
    """The sum of the most that a process and each of its children held since then, in MiB (Linux only)."""
    kib = 0
    for member in family(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            status = Path(f"/proc/{member}/status").read_text(encoding="utf-8", errors="replace")
            found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
            kib += int(found[1]) if found else 0  # a process that is ending has none
    return kib / 1024


def burst(server: Server, supply: Iterator[bytes], clients: int) -> float:
    """The most that a server holds while so many clients at once send all that there is, in MiB."""
    forget_peaks(server.pid)
    serve(server, supply, clients, 3600)
    return peak(server.pid)


def measure(passages: Passages, given: Configuration) -> Measured:
    """A server's row; RuntimeError if a request was refused or failed: no figure comes of that."""
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
        idle = server.resident_mb()
        clients = min(BURST, given.requests + given.queue)
        cold = burst(server, islice(unseen(passages, DOCUMENTS, PASSAGE_TOKENS), clients), clients)
        known = first(passages.tasks(_TASKS, DOCUMENTS), DOCUMENTS)
        # Which worker answers is the kernel's choice: asked so often, each of them has the texts in its cache.
        burst(server, islice(cycle(known), 6 * given.workers * len(known)), clients)
        warm = burst(server, islice(cycle(known), 4 * clients), clients)
        return Measured(given, ready, idle, cold, warm, cached(server.port)[1] / 2**20)


def main() -> None:
    """Measure and print."""
    machine, passages = on_this_machine(), open_passages()
    configurations = track(CONFIGURATIONS, "sizing", console=Console(stderr=True))
    rows = [measure(passages, given) for given in configurations]
    print(f"{machine()}\n\n{report(rows)}")


if __name__ == "__main__":
    main()
