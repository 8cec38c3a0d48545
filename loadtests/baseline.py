"""An earlier run of the same shape on the same machine, and what got worse since."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

_TIMES = ("p50_ms", "p95_ms", "p99_ms")


def path_of(folder: Path, name: str, processor: str) -> Path:
    """Where a baseline is. Other machines have other folders: their figures cannot be compared.

    name: of the shape, and in what the run was not as the shape has it. processor: as `benchmarks.machine` names it.
    """
    return folder / "baselines" / _plain(f"{platform.node()} {processor}") / f"{_plain(name)}.json"


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def worse(report: Mapping[str, Any], baseline: Mapping[str, Any], noise: Mapping[str, float]) -> list[str]:
    """Every figure that is worse by more than noise, in words. Both are reports as JSON.

    noise: the part of the baseline's figure, and the `ms`, `per_second` and `mb`, that a figure may differ by.
    """
    return [
        f"{name}: {now:.4g} {unit.replace('per_second', 'requests/s')}, was {before:.4g}"
        for name, unit, now, before in _pairs(report, baseline)
        if _loss(unit, now, before) > max(noise["part"] * before, noise[unit])
    ]


def _loss(unit: str, now: float, before: float) -> float:
    return before - now if unit == "per_second" else now - before


def _pairs(report: Mapping[str, Any], baseline: Mapping[str, Any]) -> Iterator[tuple[str, str, float, float]]:
    """Name, unit, and both values of every figure that both have."""
    for kind, figures in report["requests"].items():
        before = baseline["requests"].get(kind, {})
        names = [*(("per_second", "per_second"),) * (kind == "all"), *((name, "ms") for name in _TIMES)]
        for name, unit in names:
            if figures.get(name) is not None and before.get(name) is not None:
                yield f"{kind} {name.removesuffix('_ms')}", unit, figures[name], before[name]
    if report["memory"] and baseline["memory"]:
        yield "memory, most", "mb", report["memory"]["most"], baseline["memory"]["most"]
    if report.get("knee") and baseline.get("knee"):
        yield "knee", "per_second", report["knee"]["per_second"], baseline["knee"]["per_second"]


def save(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report as the baseline."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))


def read(path: Path) -> dict[str, Any] | None:
    """The baseline; None where there is none."""
    if not path.exists():
        return None
    found: dict[str, Any] = orjson.loads(path.read_bytes())
    return found
