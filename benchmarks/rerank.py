"""How fast the whole service is: `python -m benchmarks.rerank` prints the tables of docs/performance.md in 5 minutes.

Latency by number of documents, over the same documents in every row, and the targets. `python -m benchmarks.quality`
sets a cross-encoder beside us, `python -m benchmarks.capacity` tells how many requests a process serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from app.settings import Settings
from benchmarks import ours
from benchmarks.corpus import Passages, open_passages
from benchmarks.ours import Sample
from benchmarks.report import number, on_this_machine, percentile, spread, table
from retrieval.encoder.prepare import prepare
from retrieval.encoder.weights import DEFAULT_MODEL

RUNS = {20: 20, 50: 20, 100: 20, 500: 4, 1000: 2}  # requests by number of documents
HYBRID_WARM, HYBRID_INDEXED = ours.WARM.format("hybrid"), ours.INDEXED.format("hybrid")
TARGETS = (  # row, documents, share of the requests, milliseconds
    (HYBRID_WARM, 100, 0.5, 25),
    (HYBRID_WARM, 100, 0.95, 50),
    (HYBRID_INDEXED, 100, 0.95, 50),
    (ours.COLD, 50, 0.95, 500),
    (ours.COLD_DEADLINE, 100, 0.95, 500),
    (ours.FIRST_ORDER, 500, 0.95, 50),
)


def measure(passages: Passages) -> list[Sample]:
    """All rows, one after the other, so that nothing else computes."""
    warm_up = passages.tasks(1, 50)[0]
    work = {documents: passages.tasks(runs, documents) for documents, runs in RUNS.items()}
    samples = ours.cold(ours.COLD, work, warm_up, 0)
    samples += ours.cold(ours.COLD_DEADLINE, work, warm_up, None)
    return samples + ours.streamed(work, warm_up) + ours.warm(work) + ours.indexed(work)


def latency_table(samples: Sequence[Sample]) -> str:
    """A row a way to rank, a column a number of documents."""
    sizes = sorted({each.documents for each in samples})
    lines = []
    for row in dict.fromkeys(each.row for each in samples):
        cells = {each.documents: each for each in samples if each.row == row}
        runs = ", ".join(str(len(each.ms)) for each in cells.values())
        lines.append((row, *(spread(cells[size].ms) if size in cells else "" for size in sizes), runs))
        if row == ours.COLD_DEADLINE:
            encoded = (f"{mean(cells[size].encoded):.0f}" if size in cells else "" for size in sizes)
            lines.append(("– of them scored by their states", *encoded, ""))
    return table(("documents", *map(str, sizes), "requests"), lines)


def target_table(samples: Sequence[Sample]) -> str:
    """What was promised, beside what was measured."""
    times = {(each.row, each.documents): each.ms for each in samples}
    lines = []
    for row, documents, share, limit in TARGETS:
        value = percentile(times[row, documents], share)
        name = f"{row}, {documents} documents, p{100 * share:.0f} ms"
        lines.append((name, number(value), f"≤ {limit}", "yes" if value <= limit else "**no**"))
    return table(("", "measured", "target", "met"), lines)


def main() -> None:
    """Measure and print."""
    prepare(DEFAULT_MODEL, Settings().model_dir, lambda *_: None)
    machine, passages = on_this_machine(), open_passages()
    samples = measure(passages)
    print(f"### Machine\n\n{machine()}\n")
    print(f"### Latency by number of documents: p50 / p95 in ms\n\n{latency_table(samples)}\n")
    print(f"### Targets\n\n{target_table(samples)}")


if __name__ == "__main__":
    main()
