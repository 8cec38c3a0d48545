"""The health of each component and dependency, computed from counts. Nothing here blocks or does I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from app.auth.usage import Usage
from app.engine.engine import EngineCounts, State
from app.health.probe import Probe
from app.health.targets import MEMORY_BYTES, Buckets, quantile
from app.ranking.cross_encoding import CrossEncoding
from app.service.collection_check import CollectionCounts
from retrieval.errors import Fault
from retrieval.states.cache import CacheCounts

Status = Literal["ok", "degraded", "unavailable"]
_MIN_LAG_SAMPLES = 1000  # 20 s at fifty a second: while models load, many samples are late
LAG_S = 0.1  # limit of the event loop lag's p99: the whole latency target of a similarity request


@dataclass(frozen=True)
class Component:
    """The health of one component."""

    status: Status  # degraded: the service works without it; unavailable: the service does not work
    fault: Fault | None = None  # the last one, even if it is over
    facts: Mapping[str, object] = field(default_factory=dict)


def latest(faults: Iterable[Fault | None]) -> Fault | None:
    """The most recent fault; None if there is none."""
    return max((fault for fault in faults if fault), key=lambda fault: fault.at, default=None)


def engine(state: State, counts: EngineCounts | None) -> Component:
    """The engine: its worker threads and their queue."""
    running, waiting = (counts.running, counts.admitted - counts.running) if counts else (0, 0)
    facts = {"phase": state.phase, "reason": state.reason, "running": running, "waiting": waiting}
    if state.phase == "ready":
        return Component("ok", None, facts)
    return Component("unavailable", Fault(state.reason, state.since) if state.phase == "failed" else None, facts)


def models(names: Iterable[str], probe: Probe, probe_ms: Mapping[str, float]) -> Component:
    """The served models and the duration of their last probes, in milliseconds."""
    served = [{"name": name, "probe_ms": _rounded(probe_ms.get(name))} for name in names]
    status: Status = "unavailable" if not served or probe.known() else "ok"
    return Component(status, probe.last_fault, {"models": served})


def cross_encoder(used: CrossEncoding | None) -> dict[str, Component]:
    """The cross-encoder, if there is one: pairs that it read, and the cache of their scores."""
    if used is None:
        return {}
    passes, cached = used.encoder.counts()
    facts = {"name": used.encoder.name, "pairs": passes.texts, "pending": passes.pending}
    return {"cross_encoder": Component("ok", None, {**facts, **cache(cached).facts})}


def index(
    counts: Mapping[str, CollectionCounts], default: str | None, default_error: str | None, last: Fault | None
) -> Component:
    """The collections of the index.

    Args:
        counts: The opened collections by name.
        default: The name of the default collection.
        default_error: Why the default collection cannot be searched; None if it can.
        last: The last fault of any collection.
    """
    status: Status = "ok"
    if default_error:
        status = "unavailable"
    elif not all(collection.certified for collection in counts.values()):
        status = "degraded"
    collections = [_collection(name, collection) for name, collection in counts.items()]
    return Component(status, last, {"default": default, "collections": collections})


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
    """The state cache of this process."""
    return Component("ok", None, {"entries": counts.entries, "bytes": counts.bytes, "max_bytes": counts.max_bytes})


def leaning(*, lost: bool, fault: Fault | None, **facts: object) -> Component:
    """An external dependency: the service is degraded while it is lost."""
    return Component("degraded" if lost else "ok", fault, facts)


def replicas(counts: EngineCounts) -> dict[str, int]:
    """Counts of the shared Redis cache: invalid records that were read, and states that were not written."""
    models = counts.replicas.values()
    return {"corrupt": sum(model.corrupt for model in models), "dropped": sum(model.dropped for model in models)}


def keys(usage: Usage, *, lost: bool, fault: Fault | None) -> Component:
    """The key database. `lost` and `fault` are about reads; write faults come from `usage`."""
    counts = usage.counts()
    return leaning(
        lost=lost or counts.fault is not None,
        fault=latest([fault, usage.last_fault]),
        usage_waiting_rows=counts.waiting,
        usage_dropped=counts.dropped,
        usage_fault=counts.fault and counts.fault.text,
    )


def event_loop(lag: Buckets) -> Component:
    """The event loop's lag, which delays every response."""
    p99 = quantile(lag, 0.99)
    late = p99 is not None and p99 > LAG_S and max(lag.values()) >= _MIN_LAG_SAMPLES
    return Component("degraded" if late else "ok", None, {"lag_p99_ms": _rounded(p99 and 1e3 * p99)})


def memory(now: float, maximum: float) -> Component:
    """Resident memory of the process: now, and its maximum within the window. Both in bytes."""
    facts = {"resident_bytes": int(now), "most_bytes": int(maximum)}
    return Component("degraded" if maximum > MEMORY_BYTES else "ok", None, facts)


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 2)
