"""The machine: processor, cores, memory, open files, clock, SQLite."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import apsw

import app
from app.cli.doctor.finding import Finding, judged
from app.engine.cpu_quota import granted_cpus
from app.settings import Settings
from app.telemetry.memory import meminfo, memory_limit

_CPUINFO = Path("/proc/cpuinfo")

# What to call instructions, and the flags of /proc/cpuinfo of which one is enough.
_X86 = {
    "AVX2": {"avx2"},
    "AVX-512": {"avx512f"},
    "VNNI": {"avx512_vnni", "avx_vnni"},
    "bf16": {"avx512_bf16", "amx_bf16"},
    "AMX": {"amx_tile"},
}
_ARM = {"NEON": {"asimd"}, "dot product": {"asimddp"}, "bf16": {"bf16"}, "i8mm": {"i8mm"}, "SVE": {"sve"}}

# What one worker holds idle and working, and for each request in work: measured in docs/deployment.md.
_WORKER_MIB, _REQUEST_MIB, _MARGIN = 549, 5.9, 1.25
_SPARE_FILES = 256  # besides connections: segments of collections, libraries, logs
_SQLITE = (3, 51, 3)  # before it, a rare race of two processes could lose writes


def processor(_: Settings) -> Iterator[Finding]:
    """Which of the instructions that make the model fast this processor has."""
    machine = platform.machine()
    has, lacks = instructions(_flags(), machine)
    found = f"{machine}: {', '.join(has) or 'no known vector instructions'}"
    remedy = "it works, slower; docs/deployment.md#clouds names processors that have them"
    slow = [name for name in ("AVX2", "VNNI") if name in lacks]
    yield judged("processor", found, f"no {' and no '.join(slow)}" if slow else None, remedy)


def instructions(flags: set[str], machine: str) -> tuple[list[str], list[str]]:
    """The names of those instructions that a processor has, and of those that it lacks.

    Args:
        flags: As /proc/cpuinfo has them; empty: not known, and nothing lacks.
        machine: The architecture, as `uname -m` says.
    """
    names = _ARM if machine in {"aarch64", "arm64"} else _X86
    has = [name for name, flags_of_it in names.items() if flags & flags_of_it]
    return has, [name for name in names if name not in has] if flags else []


def cores(settings: Settings) -> Iterator[Finding]:
    """How many processors the service may use: affinity and control group, against what is configured."""
    there, granted, wanted = os.cpu_count() or 1, granted_cpus(), settings.engine.processors
    found = f"{granted} granted of {there}; the load is {os.getloadavg()[0]:.1f}"
    fault = f"QRERANK_ENGINE__PROCESSORS is {wanted}" if wanted and wanted > granted else None
    yield judged("cores", found, fault, "lower it, or raise the CPU limit: more threads than cores are slower")


def memory(settings: Settings) -> Iterator[Finding]:
    """Whether one worker fits into the memory, by the rule of docs/deployment.md."""
    needed = _MARGIN * (
        _WORKER_MIB * 2**20 + settings.cache.max_bytes + _REQUEST_MIB * 2**20 * settings.engine.requests
    )
    limit, free = memory_limit(), meminfo().get("MemAvailable")
    if limit is None:
        yield Finding("memory", "ok", "not known on this system")
        return
    found = f"{_gib(limit)} may be used" + (f", {_gib(free)} free" if free is not None else "")
    fault = f"one worker needs up to {_gib(needed)}" if limit < needed else None
    yield judged("memory", found, fault, "lower QRERANK_CACHE__MAX_BYTES or QRERANK_ENGINE__REQUESTS, or allow more")


def open_files(settings: Settings) -> Iterator[Finding]:
    """Whether the limit of open files leaves room for all connections. `serve` raises the soft limit by itself."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        yield Finding("open files", "ok", "no limit")
        return
    needed = settings.limits.connections + _SPARE_FILES
    fault = f"QRERANK_LIMITS__CONNECTIONS needs {needed:,}" if most < needed else None
    yield judged("open files", f"at most {most:,}", fault, "raise it: LimitNOFILE= of systemd, or `ulimit -Hn`")


def clock(_: Settings) -> Iterator[Finding]:
    """Whether the clock is later than this installation: keys, tokens and certificates end by it."""
    now, installed = time.time(), Path(str(app.__file__)).stat().st_mtime
    found = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    fault = "earlier than the files of this installation" if now < installed - 86_400 else None
    yield judged(
        "clock", found, fault, "set the clock, and keep it by NTP: keys and tokens expire by it", status="error"
    )


def sqlite(_: Settings) -> Iterator[Finding]:
    """The version of SQLite that keeps documents."""
    version = apsw.sqlite_lib_version()
    fault = None if tuple(map(int, version.split("."))) >= _SQLITE else "it may lose writes of several processes"
    yield judged("SQLite", version, fault, "pip install --upgrade apsw", status="error")


def _flags() -> set[str]:
    """The flags of the first processor; empty where the system does not tell."""
    lines = _CPUINFO.read_text(encoding="utf-8").splitlines() if _CPUINFO.exists() else []
    found = (line.partition(":")[2] for line in lines if line.startswith(("flags", "Features")))
    return set(next(found, "").split())


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"
