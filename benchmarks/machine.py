"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import re
import resource
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import psutil

_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx_vnni", "avx512_vnni", "amx_bf16", "amx_int8")
_PACKAGES = ("quantum-rerank", "openvino", "numpy", "faiss-cpu", "tokenizers", "uvicorn", "uvloop")


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
    start, busy, own = time.monotonic(), _busy_s(), _own_s()

    def since() -> float:
        return max(0.0, (_busy_s() - busy - _own_s() + own) / (time.monotonic() - start))

    return since


def _busy_s() -> float:
    """Seconds that all processors together were not idle since the machine started."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


def _own_s() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
