"""The catalogue of all metrics: names, help texts, labels, buckets. The dashboard is generated from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PREFIX = "qrerank_"

# How gauges are aggregated over live workers: sum, maximum or minimum.
Over = Literal["livesum", "livemax", "livemin"]


@dataclass(frozen=True)
class Family:
    """A metric family: a name with one series for each combination of label values."""

    name: str  # as in queries; for a histogram without _bucket, _sum or _count
    type: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()  # finite upper bounds; +Inf is added
    over: Over = "livesum"  # for gauges only

    @property
    def short(self) -> str:
        """The name of `Metrics`' attribute."""
        return self.name.removeprefix(PREFIX)


def _counter(name: str, text: str, *labels: str) -> Family:
    return Family(f"{PREFIX}{name}_total", "counter", text, labels)


def _gauge(name: str, text: str, *labels: str, over: Over = "livesum") -> Family:
    return Family(PREFIX + name, "gauge", text, labels, over=over)


def _histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...]) -> Family:
    return Family(PREFIX + name, "histogram", text, labels, buckets)


# The targets are p50 ≤ 200 ms, p95 ≤ 500 ms and p99 ≤ 1 s; with cached texts, 25 and 50 ms.
_REQUEST_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2, 5)
_STAGE_S = (0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
_DOCUMENTS = (1, 5, 10, 20, 50, 100, 200, 500, 1000)
_UNITS = (1, 10, 50, 100, 200, 500, 1000, 5000, 20_000, 100_000)
_TOKENS = (100, 1000, 5000, 10_000, 20_000, 50_000, 100_000)
_LAG_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)

_REQUESTS = (
    _counter("requests", "Finished requests.", "route", "http_method", "dialect", "method", "tier", "status"),
    _histogram(
        "request_seconds",
        "Duration of a request, from its head to the end of its response.",
        *("route", "method", "documents", "outcome"),
        buckets=_REQUEST_S,
    ),
    _histogram("stage_seconds", "Duration of a stage of a request.", "stage", buckets=_STAGE_S),
    _histogram("request_documents", "Documents per request.", "route", buckets=_DOCUMENTS),
    _histogram("request_units", "Estimated work per request, in units.", "route", buckets=_UNITS),
    _histogram("request_tokens", "Tokens per request, encoded now or cached.", "route", buckets=_TOKENS),
    _counter("documents", "Documents ranked: encoded, cached, or unread because time ran out.", "read"),
    _counter("requests_cut", "Incomplete responses: the deadline left documents unread.", "route"),
    _counter("rankers_dropped", "Rankings that a ranker had no part in, or not for all documents.", "ranker"),
    _counter("rejections", "Rejected requests.", "reason"),
)
_ENCODER = (
    _counter("encoder_passes", "Forward passes of the model, by batch size in texts.", "model", "texts"),
    _counter("encoded_texts", "Texts encoded.", "model"),
    _counter("encoded_tokens", "Tokens encoded.", "model"),
    _gauge("encoder_pending_texts", "Texts queued for the encoder or being encoded.", "model"),
    _gauge("encoder_token_seconds", "Measured time per token, of the slowest worker.", "model", over="livemax"),
)
_ENGINE = (
    _gauge("requests_running", "Requests being processed by a thread."),
    _gauge("requests_waiting", "Admitted requests waiting for a thread."),
    _counter("cache_hits", "Texts whose states were cached."),
    _counter("cache_misses", "Texts whose states were not cached."),
    _counter("cache_evictions", "Texts evicted from the cache."),
    _gauge("cache_entries", "Texts in the cache."),
    _gauge("cache_bytes", "Memory of the cached states."),
)
_DEPENDENCIES = (
    _counter("replica_cache_hits", "Texts whose states were in Redis.", "model"),
    _counter("replica_cache_misses", "Texts whose states were not in Redis.", "model"),
    _counter("replica_cache_corrupt", "Invalid records in Redis; their texts are encoded again.", "model"),
    _counter("replica_cache_errors", "Failed calls to Redis; they cost only time.", "model"),
    _counter("replica_cache_dropped", "Texts whose states could not be written to Redis.", "model"),
    _counter("quota_refusals", "Requests rejected by a quota.", "quota"),
    _counter("quota_alone", "Requests counted by one process alone because Redis was lost."),
    _counter("quota_redis_errors", "Failed calls to Redis; meanwhile each process counts quotas alone."),
    _counter("quota_counters_reset", "Invalid counters in Redis that were reset."),
    _gauge("usage_waiting_rows", "Usage rows, one per day and caller, that wait to be written."),
    _counter("usage_dropped", "Requests missing from usage because it could not be written."),
    _gauge("breaker_open", "1 while a dependency's circuit breaker is open.", "dependency", over="livemax"),
)
_PROCESS = (
    _gauge("index_passages", "Passages of an opened collection.", "collection", over="livemax"),
    _gauge("index_bytes", "Bytes of a collection's files.", "collection", over="livemax"),
    _gauge(
        "index_certified",
        "1 if all of a collection can be searched; 0: damaged, or its model is not served.",
        "collection",
        over="livemin",
    ),
    _gauge("process_memory_bytes", "Resident memory of all workers."),
    _gauge("memory_limit_bytes", "Memory that all workers may use: the container's, or the machine's.", over="livemin"),
    _gauge("workers", "Worker processes."),
    _gauge("ready", "Workers that are ready."),
    _histogram("event_loop_lag_seconds", "Delay of due tasks on the event loop.", buckets=_LAG_S),
    _gauge("build_info", "Always 1; the labels carry the version and the model.", "version", "model", over="livemax"),
)

FAMILIES: tuple[Family, ...] = (*_REQUESTS, *_ENCODER, *_ENGINE, *_DEPENDENCIES, *_PROCESS)
