"""Resident memory of this process, and what memory it may use."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from app.engine.cpu_quota import ROOT, SELF, control_groups

_STATM = Path("/proc/self/statm")
_MEMINFO = Path("/proc/meminfo")
_LIMITS = ("memory.max", "memory.limit_in_bytes")  # of control groups v2 and v1


def resident_bytes() -> int:
    """The resident memory of this process; where there is no /proc, its maximum so far."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def memory_limit(root: Path = ROOT, membership: Path = SELF) -> int | None:
    """The bytes that this process may use: the smallest limit of its control groups, at most the machine's memory.

    None where the system does not tell.
    """
    limits = [meminfo().get("MemTotal")]
    for folder in control_groups("memory", root, membership):
        for name in _LIMITS:
            text = (folder / name).read_text(encoding="ascii").strip() if (folder / name).exists() else ""
            limits.append(int(text) if text.isdigit() else None)
    return min((limit for limit in limits if limit is not None), default=None)


def meminfo() -> dict[str, int]:
    """The bytes that /proc/meminfo tells, by name."""
    lines = _MEMINFO.read_text(encoding="ascii").splitlines() if _MEMINFO.exists() else []
    parts = (line.replace(":", " ").split() for line in lines)
    return {name: int(count) * 1024 for name, count, *_ in parts}
