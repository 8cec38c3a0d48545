"""The number of CPUs that this process may use: its cgroup's quota, not the host's count."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from threadpoolctl import threadpool_limits

ROOT = Path("/sys/fs/cgroup")
SELF = Path("/proc/self/cgroup")


def granted_cpus(root: Path = ROOT, membership: Path = SELF) -> int:
    """The smaller of the CPU affinity and the cgroup's CPU quota (v2 or v1), at least 1.

    Quotas are rounded up: with one thread, a quota of 1.5 CPUs would be left half unused whenever it waits.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = min(_quotas(root, membership), default=math.inf)
    return max(1, min(affinity, math.ceil(quota) if math.isfinite(quota) else affinity))


def limit_threads(processors: int) -> None:
    """Limit OpenMP and the tokenizer to this number of threads, and BLAS to one.

    Requests run in parallel already, and a product of one is short. More BLAS threads per product
    would only compete with each other.
    """
    threadpool_limits(1, user_api="blas")
    threadpool_limits(processors, user_api="openmp")  # set after BLAS, since FAISS's BLAS is built on OpenMP
    os.environ["RAYON_NUM_THREADS"] = str(processors)  # read by tokenizers on its first parallel call


def _quotas(root: Path, membership: Path) -> Iterator[float]:
    """The quotas of the process's cgroup and of its ancestors, in CPUs."""
    for folder in control_groups("cpu", root, membership):
        quota = _quota(folder)
        if quota is not None:
            yield quota


def control_groups(controller: str, root: Path = ROOT, membership: Path = SELF) -> Iterator[Path]:
    """The folders of the process's control group and of its ancestors, of v2 and of a controller of v1."""
    lines = membership.read_text(encoding="utf-8").splitlines() if membership.exists() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base = root
        elif controller in controllers.split(","):
            base = root / controller
        else:
            continue
        # In a container the path may be the host's; then the quota is at the root.
        group = Path(path.lstrip("/"))
        yield from (base / group, *(base / parent for parent in group.parents))


def _quota(folder: Path) -> float | None:
    """The quota of one cgroup in CPUs; None if it sets none."""
    if (folder / "cpu.max").exists():
        limit, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
    elif (folder / "cpu.cfs_quota_us").exists():
        limit, period = ((folder / f"cpu.cfs_{name}_us").read_text(encoding="utf-8") for name in ("quota", "period"))
    else:
        return None
    return None if limit == "max" or int(limit) <= 0 else int(limit) / int(period)
