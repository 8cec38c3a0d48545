"""What the service is made of and leans on, and how each part is. Nothing here waits or asks; `health.py` does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from app.auth.usage import Usage
from app.engine.engine import EngineCounts, State
from app.health.probe import Probe
from app.health.targets import MEMORY_BYTES, Buckets, quantile
from app.service.collections import CollectionCounts
from retrieval.errors import Fault
from retrieval.states.cache import CacheCounts

Status = Literal["ok", "degraded", "unavailable"]
_ENOUGH = 1000  # turns of the event loop, of which fifty are timed a second: while models load many are late
LAG_S = 0.1  # by which the event loop may be late, one time in a hundred: no more than a similarity may take in all


@dataclass(frozen=True)
class Component:
    """One part."""

    status: Status  # degraded: the service serves without it; unavailable: it does not
    fault: Fault | None = None  # the last one, though it may be over
    facts: Mapping[str, object] = field(default_factory=dict)


def latest(faults: Iterable[Fault | None]) -> Fault | None:
    """The last of several errors."""
    return max((fault for fault in faults if fault), key=lambda fault: fault.at, default=None)


def engine(state: State, counts: EngineCounts | None) -> Component:
    """Threads and their queue."""
    running, waiting = (counts.running, counts.admitted - counts.running) if counts else (0, 0)
    facts = {"phase": state.phase, "reason": state.reason, "running": running, "waiting": waiting}
    if state.phase == "ready":
        return Component("ok", None, facts)
    return Component("unavailable", Fault(state.reason, state.since) if state.phase == "failed" else None, facts)


def models(names: Iterable[str], probe: Probe, probe_ms: Mapping[str, float]) -> Component:
    """What encodes."""
    served = [{"name": name, "probe_ms": _rounded(probe_ms.get(name))} for name in names]
    status: Status = "unavailable" if not served or probe.known() else "ok"
    return Component(status, probe.last_fault, {"models": served})


def index(
    counts: Mapping[str, CollectionCounts], default: str | None, wrong: str | None, last: Fault | None
) -> Component:
    """Collections. wrong: what is, with the default one."""
    status: Status = "ok"
    if wrong:
        status = "unavailable"
    elif not all(of.certified for of in counts.values()):
        status = "degraded"
    opened = [_collection(name, of) for name, of in counts.items()]
    return Component(status, last, {"default": default, "collections": opened})


def _collection(name: str, counts: CollectionCounts) -> dict[str, object]:
    integrity = counts.integrity
    return {
        "name": name,
        "passages": counts.passages,
        "bytes": counts.bytes,
        "certified": counts.certified,
        "certificate": integrity
        and {"at": integrity.at, "recall": integrity.recall, "ms": _rounded(1e3 * integrity.seconds)},
        "fault": counts.fault and counts.fault.text,
    }


def cache(counts: CacheCounts) -> Component:
    """What is remembered in this process."""
    return Component("ok", None, {"entries": counts.entries, "bytes": counts.bytes, "max_bytes": counts.max_bytes})


def leaning(*, lost: bool, fault: Fault | None, **facts: object) -> Component:
    """Something elsewhere without which the service does less."""
    return Component("degraded" if lost else "ok", fault, facts)


def replicas(counts: EngineCounts) -> dict[str, int]:
    """What became of states in Redis: records that were none of ours, and states that were not written."""
    of = counts.replicas.values()
    return {"corrupt": sum(each.corrupt for each in of), "dropped": sum(each.dropped for each in of)}


def keys(usage: Usage, *, lost: bool, fault: Fault | None) -> Component:
    """The database of keys, which may be read and not written. lost, fault: of reading."""
    counts = usage.counts()
    return leaning(
        lost=lost or counts.fault is not None,
        fault=latest([fault, usage.last_fault]),
        usage_waiting_rows=counts.waiting,
        usage_dropped=counts.dropped,
        usage_fault=counts.fault and counts.fault.text,
    )


def event_loop(lag: Buckets) -> Component:
    """How late every answer may be."""
    p99 = quantile(lag, 0.99)
    late = p99 is not None and p99 > LAG_S and max(lag.values()) >= _ENOUGH
    return Component("degraded" if late else "ok", None, {"lag_p99_ms": _rounded(p99 and 1e3 * p99)})


def memory(now: float, most: float) -> Component:
    """The process's, resident."""
    facts = {"resident_bytes": int(now), "most_bytes": int(most)}
    return Component("degraded" if most > MEMORY_BYTES else "ok", None, facts)


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 2)
