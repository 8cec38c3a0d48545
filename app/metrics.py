"""What was done so far, in Prometheus' terms. Counts are read where they are kept, at the time of asking."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from app.engine import EngineCounts
    from app.quotas.quotas import QuotaCounts

Family = type[GaugeMetricFamily] | type[CounterMetricFamily]

_ENCODER = (  # what, name, text, and where `EncoderCounts` has it
    (CounterMetricFamily, "encoded_texts", "Texts encoded.", "texts"),
    (CounterMetricFamily, "encoded_tokens", "Tokens encoded.", "tokens"),
    (CounterMetricFamily, "encoder_passes", "Forward passes of the model.", "passes"),
    (GaugeMetricFamily, "encoder_pending_texts", "Texts that wait for the encoder or are in it.", "pending"),
    (GaugeMetricFamily, "encoder_token_seconds", "Learned cost of one token.", "seconds_per_token"),
)
_REPLICAS = (  # the same of `ReplicaCounts`
    (CounterMetricFamily, "replica_cache_hits", "Texts whose states Redis had.", "hits"),
    (CounterMetricFamily, "replica_cache_misses", "Texts whose states Redis had not.", "misses"),
    (CounterMetricFamily, "replica_cache_errors", "Failures of Redis; each costs speed only.", "errors"),
    (CounterMetricFamily, "replica_cache_dropped", "Texts that were to be written and were not.", "dropped"),
    (GaugeMetricFamily, "replica_cache_available", "1 while Redis answers.", "available"),
)
_LAG_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)


class Metrics:
    """The metrics of one application."""

    def __init__(
        self, counts: Callable[[], EngineCounts | None], quotas: Callable[[], QuotaCounts] | None = None
    ) -> None:
        """counts: what the engine did so far, None until it can tell. quotas: what was counted there."""
        self._registry = CollectorRegistry()
        self._registry.register(_EngineCollector(counts))
        if quotas:
            self._registry.register(_QuotaCollector(quotas))
        self.loop_lag = Histogram(
            "qrerank_event_loop_lag_seconds",
            "How late the event loop turned to a task that was due.",
            buckets=_LAG_BUCKETS_S,
            registry=self._registry,
        )

    def render(self) -> bytes:
        """All metrics in the text format."""
        return generate_latest(self._registry)


class _EngineCollector(Collector):
    def __init__(self, counts: Callable[[], EngineCounts | None]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        counts = self._counts()
        if counts is None:
            return
        cache = counts.cache
        yield _gauge("requests_admitted", "Requests in work or waiting.", counts.admitted)
        yield _counter("requests_refused", "Requests refused for want of room.", counts.refused)
        yield _counter("cache_hits", "Texts whose states were remembered.", cache.hits)
        yield _counter("cache_misses", "Texts whose states were not remembered.", cache.misses)
        yield _counter("cache_evictions", "Texts forgotten to make room.", cache.evictions)
        yield _gauge("cache_entries", "Texts remembered.", cache.entries)
        yield _gauge("cache_bytes", "Memory of what is remembered.", cache.bytes)
        yield from _by_model(counts.encoders, _ENCODER)
        if counts.replicas:
            yield from _by_model(counts.replicas, _REPLICAS)


class _QuotaCollector(Collector):
    def __init__(self, counts: Callable[[], QuotaCounts]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        counts = self._counts()
        refused = CounterMetricFamily("qrerank_quota_refusals", "Requests beyond a quota.", labels=["quota"])
        for quota in ("requests", "similarities"):
            refused.add_metric([quota], counts.refused.get(quota, 0))
        yield refused
        if counts.available is not None:
            yield _counter("quota_alone", "Requests counted by this process alone: Redis was lost.", counts.alone)
            yield _counter("quota_redis_errors", "Failures of Redis; quotas are then each process's.", counts.errors)
            yield _gauge("quota_redis_available", "1 while Redis answers.", counts.available)


def _by_model(counts: Mapping[str, object], families: Sequence[tuple[Family, str, str, str]]) -> Iterator[Metric]:
    for family, name, text, attribute in families:
        metric = family(f"qrerank_{name}", text, labels=["model"])
        for model, of in counts.items():
            metric.add_metric([model], float(getattr(of, attribute)))
        yield metric


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"qrerank_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"qrerank_{name}", text, value=value)
