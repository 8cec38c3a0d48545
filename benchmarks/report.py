"""Times, percentiles and the machine that they were measured on, as GitHub markdown to be pasted into docs/."""

from __future__ import annotations

import os
import platform
import re
import resource
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil

T = TypeVar("T")
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx_vnni", "avx512_vnni", "amx_bf16", "amx_int8")
_PACKAGES = ("quantum-rerank", "openvino", "numpy", "faiss-cpu", "tokenizers", "uvicorn", "uvloop")


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least this share of them does not exceed; of few values that is the largest.

    IndexError for no values, ValueError for a share outside [0, 1].
    """
    return float(np.quantile(np.array(values, dtype=float), share, method="inverted_cdf"))


def timed(run: Callable[[], T], repeats: int = 1) -> tuple[list[float], T]:
    """Milliseconds of each of `repeats` calls, and what the last one gave."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = run()
        times.append(1e3 * (time.perf_counter() - start))
    return times, result


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
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


def facts() -> dict[str, str]:
    """The processor, what it can do, and the versions of what computes. The load is what others ask of it already."""
    cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"model name\s*: (.*)", cpu)
    flags = set((re.search(r"flags\s*: (.*)", cpu) or ["", ""])[1].split())
    name = model[1].strip() if model else platform.processor()
    size = psutil.virtual_memory().total / 2**30
    return {
        "processor": f"{name}, {len(os.sched_getaffinity(0))} cores",
        "vector instructions": ", ".join(flag for flag in _FLAGS if flag in flags) or "none of those that matter",
        "system": f"{size:.0f} GiB, {platform.system()} {platform.release()}, Python {platform.python_version()}",
        "load before (1 minute)": f"{os.getloadavg()[0]:.2f}",
        "versions": ", ".join(f"{package} {version(package)}" for package in _PACKAGES),
    }


def watch_others() -> Callable[[], float]:
    """A function that tells how many processors others' work took, on average, since this call.

    What this process and the children it waited for took is taken off what all processors did, so it is to be asked
    once those have ended. Time that a hypervisor gave to others counts too.
    """
    start, before = time.monotonic(), _others_s()
    return lambda: max(0.0, (_others_s() - before) / (time.monotonic() - start))


def _others_s() -> float:
    """Seconds that all processors together were not idle since the machine started, but for our own."""
    times = psutil.cpu_times()
    busy = times.user + times.nice + times.system + times.irq + times.softirq + times.steal
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return float(busy) - sum(usage.ru_utime + usage.ru_stime for usage in usages)


def on_this_machine() -> Callable[[], str]:
    """A function that gives the table of what was measured on; others' work is counted from this call on."""
    machine, others = facts(), watch_others()

    def told() -> str:
        taken = ("processors that others' work took meanwhile", f"{others():.2f}")
        return table(("", ""), [*machine.items(), taken])

    return told
