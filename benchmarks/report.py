"""The figures as GitHub markdown, to be pasted into docs/performance.md as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import mean

from benchmarks.figures import RATIO_DOCUMENTS, Figures
from benchmarks.load import Load
from benchmarks.measure import Sample, percentile
from benchmarks.ours import COLD, COLD_DEADLINE
from benchmarks.roofline import MINILM
from benchmarks.scaling import COLD_DOCUMENTS, MEMORY_REQUESTS, TOKENS_DOCUMENTS, WARM_DOCUMENTS, Concurrency
from benchmarks.targets import HYBRID_INDEXED, HYBRID_WARM, targets

Row = Sequence[str]


def table(headings: Row, rows: Sequence[Row]) -> str:
    """A markdown table: the first column to the left, the others to the right."""
    rule = ["---", *("---:" for _ in headings[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, rule, *rows))


def number(value: float) -> str:
    """Three significant digits, and all of a larger number."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f}"


def report(figures: Figures) -> str:
    """All tables that the figures allow."""
    return "\n\n".join(_parts(figures))


def _parts(figures: Figures) -> Iterator[str]:
    yield "### Machine\n\n" + table(("", ""), _machine(figures))
    if figures.latencies:
        yield "### Latency by number of documents: p50 / p95 in ms\n\n" + _latencies(figures)
    if ratios := _ratios(figures):
        yield f"### Times faster, by p50 at {RATIO_DOCUMENTS} documents\n\n" + ratios
    if figures.tokens:
        yield f"### {TOKENS_DOCUMENTS} documents, cold, no deadline, by tokens a document\n\n" + _tokens(figures.tokens)
    if figures.concurrency:
        yield "### Concurrent clients\n\n" + _clients(figures.concurrency)
    if figures.roofline:
        yield "### Roofline\n\n" + _roofline(figures)
    if figures.memory or figures.handover_us:
        yield "### Process\n\n" + _process(figures)
    if promised := targets(figures):
        rows = [(t.name, number(t.value), t.bound, "yes" if t.met else "**no**") for t in promised]
        yield "### Targets\n\n" + table(("", "measured", "target", "met"), rows)


def _machine(figures: Figures) -> list[Row]:
    rows: list[Row] = list(figures.machine.items())
    if figures.peer_versions:
        rows.append(("peers", ", ".join(f"{name} {version}" for name, version in figures.peer_versions.items())))
    if figures.others:
        shares = ", ".join(f"{part} {share:.2f}" for part, share in figures.others.items())
        rows.append(("processors that others' work took meanwhile", shares))
    return rows


def _latencies(figures: Figures) -> str:
    rows: list[Row] = []
    for row in figures.rows:
        cells = [figures.cell(row, size) for size in figures.sizes]
        requests = ", ".join(str(len(c.ms)) for c in cells if c)
        rows.append((row, *(f"{number(c.p50)} / {number(c.p95)}" if c else "" for c in cells), requests))
        if row == COLD_DEADLINE:
            encoded = (f"{c.mean_encoded:.0f}" if c and c.mean_encoded is not None else "" for c in cells)
            rows.append(("– of them scored by their states", *encoded, ""))
    return table(("documents", *map(str, figures.sizes), "requests"), rows)


def _ratios(figures: Figures) -> str:
    ours = (COLD, COLD_DEADLINE, HYBRID_WARM, HYBRID_INDEXED)
    peers = [row for row in figures.rows if not row.startswith("ours")]
    rows: list[Row] = []
    for row in ours:
        ratios = [figures.ratio(row, peer) for peer in peers]
        if any(ratios):
            rows.append((row, *(f"{number(ratio)}×" if ratio else "" for ratio in ratios)))
    return table(("beside", *peers), rows) if peers and rows else ""


def _tokens(samples: Sequence[Sample]) -> str:
    rows = [(s.row, number(s.p50), number(s.p95), f"{1000 * s.documents * int(s.row) / s.p50:.0f}") for s in samples]
    return table(("tokens", "p50 ms", "p95 ms", "tokens a second"), rows)


def _clients(concurrency: Concurrency) -> str:
    """One row a number of clients, warm beside cold."""
    spread = "p50 / p95 / p99 ms"
    headings = ("clients", "warm/s", spread, "cold/s", spread, "scored by states", "errors", "clients' own CPU")
    rows = []
    for warm, cold in zip(concurrency.warm, concurrency.cold, strict=True):
        encoded = f"{number(mean(cold.encoded))} of {COLD_DOCUMENTS}" if cold.encoded else ""
        cpu = f"{100 * max(warm.client_cpu, cold.client_cpu):.0f} %"
        rows.append((str(warm.clients), *_load(warm), *_load(cold), encoded, str(warm.errors + cold.errors), cpu))
    health = percentile(concurrency.warm[-1].health_ms, 0.99)
    lag = "not exported" if concurrency.lag_p99_s is None else f"{1000 * concurrency.lag_p99_s:g} ms or less"
    return (
        f"Requests a second; warm: {WARM_DOCUMENTS} documents, states cached; cold: {COLD_DOCUMENTS} documents "
        f"never seen before, default deadline.\n\n{table(headings, rows)}\n\n"
        f"Event loop under {concurrency.warm[-1].clients} warm clients: lag p99 {lag} (its own histogram); "
        f"`GET /health` p99 {number(health)} ms, {number(concurrency.idle_health_p99_ms)} ms when idle."
    )


def _load(load: Load) -> tuple[str, str]:
    spread = " / ".join(number(load.p(percent)) for percent in (50, 95, 99)) if load.ms else ""
    return number(load.per_second), spread


def _roofline(figures: Figures) -> str:
    roof = figures.roofline
    assert roof is not None
    tokens = round(roof.tokens / roof.documents)
    flops = MINILM.flops_per_token(tokens)
    peaks = " / ".join(f"{peak:.2f}" for peak in roof.peaks.values())
    rows: list[Row] = [
        (f"peak, {' / '.join(roof.peaks)}, 10¹²/s", peaks),
        (f"a token of {tokens}, and {roof.documents} such texts", f"{flops / 1e6:.1f} ×10⁶, {roof.work:.2f} ×10¹²"),
        (f"encoding them, {roof.arithmetic}", f"{1000 * roof.seconds:.0f} ms"),
        ("reached", f"{roof.reached:.2f} ×10¹²/s, {100 * roof.reached / roof.peak:.0f} % of the peak"),
        ("the same at the peak", f"{roof.least_ms:.0f} ms"),
    ]
    return table(("operations", ""), rows)


def _process(figures: Figures) -> str:
    rows: list[Row] = []
    if memory := figures.memory:
        name = f"resident memory at the start, after {MEMORY_REQUESTS // 2} and {MEMORY_REQUESTS} requests"
        rows.append((name, f"{memory.started:.0f} / {memory.half:.0f} / {memory.end:.0f} MiB"))
    if calls := figures.handover_us:
        spread = f"{number(percentile(calls, 0.5))} / {number(percentile(calls, 0.95))} µs"
        rows.append(("event loop to worker and back, p50 / p95", spread))
    return table(("", ""), rows)
