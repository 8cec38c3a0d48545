"""How many processors this process may use: what the control group grants, not what the host has."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from threadpoolctl import threadpool_limits

_ROOT = Path("/sys/fs/cgroup")
_SELF = Path("/proc/self/cgroup")


def granted_cpus(root: Path = _ROOT, membership: Path = _SELF) -> int:
    """The processors of this process's affinity, or of its cgroup's CPU quota (v2 or v1) where that is less; ≥ 1.

    A quota of 1.5 processors counts as 2: threads that wait leave the half unused otherwise.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = min(_quotas(root, membership), default=math.inf)
    return max(1, min(affinity, math.ceil(quota) if math.isfinite(quota) else affinity))


def limit_threads(processors: int) -> None:
    """Have OpenMP and the tokenizer use so many threads and no more, and BLAS one.

    Requests run beside each other already, and idle processors help a lone one (`cpu_slots`); two BLAS threads for
    each product would only get in each other's way.
    """
    threadpool_limits(1, user_api="blas")
    threadpool_limits(processors, user_api="openmp")  # after BLAS, which FAISS has built on OpenMP
    os.environ["RAYON_NUM_THREADS"] = str(processors)  # read by tokenizers when it first works in parallel


def _quotas(root: Path, membership: Path) -> Iterator[float]:
    """The quotas of the process's group and of those it lies in, in processors."""
    lines = membership.read_text(encoding="utf-8").splitlines() if membership.exists() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base = root
        elif "cpu" in controllers.split(","):
            base = root / "cpu"
        else:
            continue
        # Within a container the path may be the host's; then the quota stands at the root.
        group = Path(path.lstrip("/"))
        for folder in (base / group, *(base / parent for parent in group.parents)):
            quota = _quota(folder)
            if quota is not None:
                yield quota


def _quota(folder: Path) -> float | None:
    """Processors that one control group grants; None where it sets no bound."""
    if (folder / "cpu.max").exists():
        limit, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
    elif (folder / "cpu.cfs_quota_us").exists():
        limit, period = ((folder / f"cpu.cfs_{name}_us").read_text(encoding="utf-8") for name in ("quota", "period"))
    else:
        return None
    return None if limit == "max" or int(limit) <= 0 else int(limit) / int(period)
