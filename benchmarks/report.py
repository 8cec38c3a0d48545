"""Tables and numbers as GitHub markdown, to be pasted into docs/ as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.machine import facts, watch_others
from benchmarks.measure import percentile


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table: the first column to the left, the others to the right."""
    rule = ["---", *("---:" for _ in headings[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, rule, *rows))


def number(value: float) -> str:
    """Three significant digits, and all of a larger number."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f}"


def spread(values: Sequence[float], *shares: float) -> str:
    """Percentiles, p50 and p95 unless others are named; nothing where there are no values."""
    return " / ".join(number(percentile(values, share)) for share in shares or (0.5, 0.95)) if values else ""


def verdict(met: bool) -> str:
    """How a target is told."""
    return "met" if met else "**missed**"


def on_this_machine() -> Callable[[], str]:
    """A function that gives the table of what was measured on; others' work is counted from this call on."""
    machine, others = facts(), watch_others()

    def told() -> str:
        taken = ("processors that others' work took meanwhile", f"{others():.2f}")
        return table(("", ""), [*machine.items(), taken])

    return told
