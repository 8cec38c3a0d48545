"""What was promised, beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.figures import RATIO_DOCUMENTS, Figures
from benchmarks.measure import percentile
from benchmarks.ours import COLD, COLD_DEADLINE, INDEXED, WARM
from benchmarks.peers import INFINITY

HYBRID_WARM, HYBRID_INDEXED = WARM.format("hybrid"), INDEXED.format("hybrid")


@dataclass(frozen=True)
class Target:
    """One promise and its figure."""

    name: str
    value: float
    limit: float
    unit: str
    at_least: bool = False  # else at most

    @property
    def met(self) -> bool:
        """Whether the figure keeps the promise."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def bound(self) -> str:
        """The promise, as it is read."""
        return f"{'≥' if self.at_least else '≤'} {self.limit:g} {self.unit}"


def targets(figures: Figures) -> list[Target]:
    """Every promise that this run has the figures for."""
    return [*_latencies(figures), *_ratios(figures), *_process(figures)]


def _latencies(figures: Figures) -> Iterator[Target]:
    for name, row in (("states cached", HYBRID_WARM), ("indexed", HYBRID_INDEXED)):
        if sample := figures.cell(row, 100):
            yield Target(f"100 documents, {name}, p50", sample.p50, 25, "ms")
            yield Target(f"100 documents, {name}, p95", sample.p95, 50, "ms")
    if sample := figures.cell(COLD, 50):
        yield Target("50 raw documents, no deadline, p95", sample.p95, 500, "ms")
    if sample := figures.cell(COLD_DEADLINE, 100):
        yield Target("100 raw documents, default deadline, p95", sample.p95, 500, "ms")
    if sample := figures.cell(HYBRID_WARM, 100):
        yield Target("all but the stages, 100 documents cached, p50", percentile(sample.outside_ms, 0.5), 5, "ms")


def _ratios(figures: Figures) -> Iterator[Target]:
    """Beside infinity as it installs, and beside the fastest way that we found to run it."""
    rows = [peer.row for peer in INFINITY]
    measured = [sample for row in rows if (sample := figures.cell(row, RATIO_DOCUMENTS))]
    if not measured:
        return
    fastest = min(measured, key=lambda sample: sample.p50)
    for ours, limit in ((COLD, 10), (COLD_DEADLINE, 10), (HYBRID_WARM, 200)):
        for peer in dict.fromkeys((measured[0].row, fastest.row)):
            if (ratio := figures.ratio(ours, peer)) is not None:
                yield Target(f"{ours}, beside {peer}", ratio, limit, "×", at_least=True)


def _process(figures: Figures) -> Iterator[Target]:
    if figures.memory:
        yield Target("memory after 1000 requests", figures.memory.end, 1024, "MiB")
        yield Target("its growth over the last 500", figures.memory.end - figures.memory.half, 10, "MiB")
    if figures.concurrency and figures.concurrency.lag_p99_s is not None:
        yield Target("event loop lag under 50 clients, p99", 1e3 * figures.concurrency.lag_p99_s, 10, "ms")
    if figures.handover_us:
        yield Target("event loop to worker and back, p50", percentile(figures.handover_us, 0.5), 100, "µs")
