"""The thresholds of `thresholds.toml`, and whether a run kept to them."""

from __future__ import annotations

import operator
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from loadtests.figures import THRESHOLDS, Figures, Memory, recovery_s
from loadtests.run import Run

Bounds = Mapping[str, float]


@dataclass(frozen=True)
class Facts:
    """What thresholds are held against."""

    overall: Figures
    memory: Memory | None
    recovery_s: float | None  # None: it never was well again


@dataclass(frozen=True)
class Check:
    """One threshold. value is None where the run does not tell, which is not within it."""

    name: str
    value: float | None
    bound: str
    met: bool


@dataclass(frozen=True)
class _Rule:
    name: str
    sign: str
    value: Callable[[Facts], float | None]
    unit: str = ""

    def check(self, facts: Facts, bound: float) -> Check:
        value = self.value(facts)
        within = {"≤": operator.le, "<": operator.lt, "≥": operator.ge}[self.sign]
        return Check(
            self.name, value, f"{self.sign} {bound:g} {self.unit}".strip(), value is not None and within(value, bound)
        )


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 100.0


_RULES = {
    "at_least_per_second": _Rule("requests/s", "≥", lambda facts: facts.overall.per_second),
    "p50_ms": _Rule("p50", "≤", lambda facts: facts.overall.p50_ms, "ms"),
    "p95_ms": _Rule("p95", "≤", lambda facts: facts.overall.p95_ms, "ms"),
    "p99_ms": _Rule("p99", "≤", lambda facts: facts.overall.p99_ms, "ms"),
    "most_errors": _Rule("errors", "≤", lambda facts: facts.overall.failed),
    "errors_below_percent": _Rule(
        "errors in per cent", "<", lambda facts: _percent(facts.overall.failed, facts.overall.requests), "%"
    ),
    "most_refusals": _Rule("refusals", "≤", lambda facts: facts.overall.refused),
    "rss_mb": _Rule("memory, most", "≤", lambda facts: facts.memory.most if facts.memory else None, "MB"),
    "rss_growth_mb_per_hour": _Rule(
        "memory, growth", "≤", lambda facts: facts.memory.growth_per_hour if facts.memory else None, "MB/hour"
    ),
    "recovery_s": _Rule("recovery", "≤", lambda facts: facts.recovery_s, "s"),
}


def bounds_of(shape: str, path: Path = THRESHOLDS) -> Bounds:
    """The thresholds of a shape, in the order of the report; ValueError for one that there is not."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    chosen = tables["all"] | tables.get(shape, {})
    if unknown := chosen.keys() - _RULES:
        raise ValueError(f"{path}: no such threshold: {', '.join(sorted(unknown))}; there are {', '.join(_RULES)}")
    return {name: float(chosen[name]) for name in _RULES if chosen.get(name, False) is not False}


def noise(path: Path = THRESHOLDS) -> Mapping[str, float]:
    """By how much a figure may differ from its baseline: a `part` of it, and so many `ms`, `per_second` or `mb`."""
    table: Mapping[str, float] = tomllib.loads(path.read_text(encoding="utf-8"))["worse"]
    return table


def judge(run: Run, overall: Figures, memory: Memory | None, bounds: Bounds) -> list[Check]:
    """Each threshold with what the run has. Memory that nobody could read, of a service elsewhere, is not judged."""
    facts = Facts(overall, memory, recovery_s(run))
    known = {name: bound for name, bound in bounds.items() if run.memory or not name.startswith("rss")}
    return [_RULES[name].check(facts, bound) for name, bound in known.items()]
