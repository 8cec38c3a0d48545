"""A run's report: JSON for machines, a table and a verdict for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from loadtests.figures import Figures, Knee, by_kind, knee, memory, recovery_s
from loadtests.mix import KINDS
from loadtests.run import Run
from loadtests.shapes import SETTLING_S, STRESS
from loadtests.thresholds import Bounds, Check, judge

_LONG_S = 600  # of less, what memory grows by tells only that it fills


def report(run: Run, bounds: Bounds, machine: Mapping[str, str], about: Mapping[str, object]) -> dict[str, Any]:
    """All that is told of a run. about: what was sent, and where to."""
    kinds, held = by_kind(run), memory(run.memory)
    checks = judge(run, kinds["all"], held, bounds)
    return {
        "shape": run.shape,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dict(machine),
        **about,
        "seconds": round(run.seconds, 1),
        "users": max((users for _, users in run.users), default=0),
        "requests": {kind: asdict(found) | {"lost_percent": found.lost_percent} for kind, found in kinds.items()},
        "messages": run.messages,
        "memory": asdict(held) | {"readings": run.memory} if held else None,
        "knee": asdict(found) if run.shape == STRESS and (found := knee(run, SETTLING_S)) else None,
        "recovery_s": recovery_s(run) if any(mark.back for mark in run.marks) else None,
        "thresholds": [asdict(check) for check in checks],
        "passed": all(check.met for check in checks),
    }


def show(console: Console, run: Run, checks: Sequence[Check]) -> None:
    """Print the table of requests, and each threshold's verdict."""
    kinds = by_kind(run)
    console.print(_requests(kinds))
    if run.shape == STRESS:
        console.print(describe_knee(knee(run, SETTLING_S)))
    if (back := next((mark for mark in run.marks if mark.back), None)) is not None:
        again = recovery_s(run)
        when = "never within the thresholds again" if again is None else f"within the thresholds {again:.0f} s later"
        console.print(f"back to {back.users} users after {back.at:.0f} s: {when}")
    if held := memory(run.memory):
        growth = f", {held.growth_per_hour:+.1f} MB/hour in the second half" if run.seconds >= _LONG_S else ""
        console.print(f"memory: {held.first:.0f} MB at first, {held.most:.0f} at most{growth}")
    verdicts = Table("threshold", "measured", "bound", "verdict", show_edge=False)
    for check in checks:
        verdict = "[green]met[/]" if check.met else "[red]MISSED[/]"
        verdicts.add_row(check.name, "none" if check.value is None else f"{check.value:.4g}", check.bound, verdict)
    console.print(verdicts)
    for message, times in sorted(run.messages.items(), key=lambda item: -item[1])[:10]:
        console.print(f"{times} × {message}", markup=False, style="red")


def describe_knee(found: Knee | None) -> str:
    """The knee in a sentence."""
    if found is None:
        return "knee: the first users were too many already"
    held = f"knee: {found.users} users, {found.per_second:.0f} requests/s, p95 {found.p95_ms or 0:.0f} ms"
    if found.broken_at is None:
        return f"{held}; more were not tried"
    p95 = "none answered" if found.broken_p95_ms is None else f"p95 {found.broken_p95_ms:.0f} ms"
    return f"{held}; with {found.broken_at} users {p95}, {found.broken_lost_percent:.1f} % not answered"


def _requests(kinds: Mapping[str, Figures]) -> Table:
    right = ("requests", "share", "requests/s", "p50 ms", "p95 ms", "p99 ms", "errors", "refused", "cut")
    table = Table("request", show_edge=False)
    for heading in right:
        table.add_column(heading, justify="right")
    for kind in (*KINDS, "all"):
        if kind in kinds:
            found = kinds[kind]
            share = f"{100 * found.requests / max(1, kinds['all'].requests):.1f} %"
            times = ("" if ms is None else f"{ms:.0f}" for ms in (found.p50_ms, found.p95_ms, found.p99_ms))
            counts = map(str, (found.failed, found.refused, found.cut))
            table.add_row(kind, str(found.requests), share, f"{found.per_second:.1f}", *times, *counts)
    return table
