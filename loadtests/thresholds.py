"""The thresholds of `thresholds.toml`, and whether a run kept to them."""

from __future__ import annotations

import operator
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from loadtests.history import THRESHOLDS, History

Bounds = Mapping[str, float]
Facts = Mapping[str, float | None]  # by the threshold's name; None where the run does not tell

_SIGNS = {"≤": operator.le, "<": operator.lt, "≥": operator.ge}
# What the report calls it, how the value must stand to the bound, and the unit.
_RULES = {
    "at_least_per_second": ("requests/s", "≥", ""),
    "p50_ms": ("p50", "≤", "ms"),
    "p95_ms": ("p95", "≤", "ms"),
    "p99_ms": ("p99", "≤", "ms"),
    "most_errors": ("errors", "≤", ""),
    "errors_below_percent": ("errors in per cent", "<", "%"),
    "most_refusals": ("refusals", "≤", ""),
    "rss_mb": ("memory, most", "≤", "MB"),
    "rss_growth_mb_per_hour": ("memory, growth", "≤", "MB/hour"),
    "recovery_s": ("recovery", "≤", "s"),
}


@dataclass(frozen=True)
class Check:
    """One threshold. A value that the run does not tell is not within it."""

    name: str
    value: float | None
    bound: str
    met: bool


def facts(
    history: History,
    requests: int,
    failures: int,
    refused: int,
    p50: float | None,
    p95: float | None,
    p99: float | None,
) -> Facts:
    """What thresholds are held against, from Locust's totals. failures: the refused among them."""
    errors = failures - refused
    return {
        "at_least_per_second": (requests - failures) / history.seconds if history.seconds else 0.0,
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "most_errors": errors,
        "errors_below_percent": 100 * errors / requests if requests else 100.0,
        "most_refusals": refused,
        "rss_mb": history.most_mb,
        "rss_growth_mb_per_hour": history.growth_mb_per_hour,
        "recovery_s": history.recovery_s,
    }


def bounds_of(shape: str, path: Path = THRESHOLDS) -> Bounds:
    """The thresholds of a shape, in the order of the report; ValueError for one that there is not."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    chosen = tables["all"] | tables.get(shape, {})
    if unknown := chosen.keys() - _RULES:
        raise ValueError(f"{path}: no such threshold: {', '.join(sorted(unknown))}; there are {', '.join(_RULES)}")
    return {name: float(chosen[name]) for name in _RULES if chosen.get(name, False) is not False}


def judge(found: Facts, bounds: Bounds, *, remote: bool = False) -> list[Check]:
    """Each threshold with what the run has. remote: the memory of a service elsewhere is not judged."""
    checks = []
    for name, bound in bounds.items():
        if not (remote and name.startswith("rss")):
            (label, sign, unit), value = _RULES[name], found[name]
            met = value is not None and bool(_SIGNS[sign](value, bound))
            checks.append(Check(label, value, f"{sign} {bound:g} {unit}".strip(), met))
    return checks


def show(console: Console, shape: str, history: History, found: Facts, checks: Sequence[Check]) -> None:
    """Print each threshold's verdict and the shape's; of a stress run the knee, too."""
    if history.knee:
        users, seen = history.knee
        console.print(f"knee: {users} users, {seen.per_second:.0f} requests/s, p95 {seen.p95_ms or 0:.0f} ms")
    if history.back_at is not None:
        well = found["recovery_s"]
        when = "never within the thresholds again" if well is None else f"within the thresholds {well:.0f} s later"
        console.print(f"fewer users after {history.back_at:.0f} s: {when}")
    verdicts = Table("threshold", "measured", "bound", "verdict", show_edge=False)
    for check in checks:
        verdict = "[green]met[/]" if check.met else "[red]MISSED[/]"
        verdicts.add_row(check.name, "none" if check.value is None else f"{check.value:.4g}", check.bound, verdict)
    console.print(verdicts)
    passed = all(check.met for check in checks)
    console.print(f"[bold {'green' if passed else 'red'}]{shape}: {'passed' if passed else 'FAILED'}[/]")
