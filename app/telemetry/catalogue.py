"""Every metric there is: its name, what it counts, what tells its series apart. Dashboards are made of this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PREFIX = "qrerank_"

# What many workers' gauges come to: theirs together, or the largest or the smallest. Those of the dead do not count.
Over = Literal["livesum", "livemax", "livemin"]


@dataclass(frozen=True)
class Family:
    """A metric; its series differ in the values of their labels."""

    name: str  # as a query names it; of a histogram, without _bucket, _sum or _count
    type: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()  # upper bounds, but for the last, which is infinite
    over: Over = "livesum"  # of a gauge

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


# The targets are p50 ≤ 200 ms, p95 ≤ 500 ms and p99 ≤ 1 s, and 25 and 50 ms where the texts are known.
_REQUEST_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2, 5)
_STAGE_S = (0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
_DOCUMENTS = (1, 5, 10, 20, 50, 100, 200, 500, 1000)
_UNITS = (1, 10, 50, 100, 200, 500, 1000, 5000, 20_000, 100_000)
_TOKENS = (100, 1000, 5000, 10_000, 20_000, 50_000, 100_000)
_LAG_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)

_OF_REQUESTS = (
    _counter("requests", "Requests that were answered.", "route", "http_method", "dialect", "method", "tier", "status"),
    _histogram(
        "request_seconds",
        "How long a request took, from its head to the end of its answer.",
        *("route", "method", "documents", "outcome"),
        buckets=_REQUEST_S,
    ),
    _histogram("stage_seconds", "How long a request spent in a stage.", "stage", buckets=_STAGE_S),
    _histogram("request_documents", "Documents of a request.", "route", buckets=_DOCUMENTS),
    _histogram("request_units", "Estimated work of a request.", "route", buckets=_UNITS),
    _histogram("request_tokens", "Tokens that the encoder read for a request, now or once.", "route", buckets=_TOKENS),
    _counter(
        "documents", "Documents that were ranked: encoded now, cached before, or unread for want of time.", "read"
    ),
    _counter("requests_cut", "Answers for which the deadline left something unread.", "route"),
    _counter("rejections", "Requests that were refused.", "reason"),
)
_OF_THE_ENCODER = (
    _counter("encoder_passes", "Forward passes of the model, by how many texts were in one.", "model", "texts"),
    _counter("encoded_texts", "Texts encoded.", "model"),
    _counter("encoded_tokens", "Tokens encoded.", "model"),
    _gauge("encoder_pending_texts", "Texts that wait for the encoder or are in it.", "model"),
    _gauge("encoder_token_seconds", "Learned cost of one token, of the slowest worker.", "model", over="livemax"),
)
_OF_THE_ENGINE = (
    _gauge("requests_running", "Requests that a thread works on."),
    _gauge("requests_waiting", "Requests that were let in and wait for a thread."),
    _counter("cache_hits", "Texts whose states were remembered."),
    _counter("cache_misses", "Texts whose states were not remembered."),
    _counter("cache_evictions", "Texts forgotten to make room."),
    _gauge("cache_entries", "Texts remembered."),
    _gauge("cache_bytes", "Memory of what is remembered."),
)
_OF_WHAT_IT_LEANS_ON = (
    _counter("replica_cache_hits", "Texts whose states Redis had.", "model"),
    _counter("replica_cache_misses", "Texts whose states Redis had not.", "model"),
    _counter("replica_cache_corrupt", "Records in Redis that were no states of ours; each is read anew.", "model"),
    _counter("replica_cache_errors", "Failures of Redis; each costs speed only.", "model"),
    _counter("replica_cache_dropped", "Texts that were to be written to Redis and were not.", "model"),
    _counter("quota_refusals", "Requests beyond a quota.", "quota"),
    _counter("quota_alone", "Requests counted by one process alone: Redis was lost."),
    _counter("quota_redis_errors", "Failures of Redis; quotas are then each process's."),
    _counter("quota_counters_reset", "Counters in Redis that were no numbers and began anew."),
    _gauge("usage_waiting_rows", "Rows of usage, one a day and caller, that are to be written."),
    _counter("usage_dropped", "Requests that are missing from usage, which could not be written."),
    _gauge("breaker_open", "1 while what the service leans on is lost and not asked.", "dependency", over="livemax"),
)
_OF_THE_REST = (
    _gauge("index_passages", "Passages of a collection that was asked for.", "collection", over="livemax"),
    _gauge("index_bytes", "Bytes of its files.", "collection", over="livemax"),
    _gauge("index_certified", "1 if its last self-check held, 0 if it failed.", "collection", over="livemin"),
    _gauge("process_memory_bytes", "Resident memory of all workers together."),
    _gauge("workers", "Processes that serve."),
    _gauge("ready", "Workers that are ready."),
    _histogram("event_loop_lag_seconds", "How late the event loop turned to a task that was due.", buckets=_LAG_S),
    _gauge("build_info", "1, for its labels.", "version", "model", over="livemax"),
)

FAMILIES: tuple[Family, ...] = (*_OF_REQUESTS, *_OF_THE_ENCODER, *_OF_THE_ENGINE, *_OF_WHAT_IT_LEANS_ON, *_OF_THE_REST)
