"""Publishes the counts that other modules keep as metrics: every second, and before each scrape."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import Counter

from app import version
from app.telemetry.memory import memory_limit, resident_bytes
from app.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from app.auth.usage import UsageCounts
    from app.engine.engine import Engine, EngineCounts
    from app.quotas.quotas import QuotaCounts
    from app.service.collection_check import CollectionCounts
    from retrieval.encoder.batching import EncoderCounts
    from retrieval.states.redis import ReplicaCounts

log = logging.getLogger(__name__)

EVERY_S = 1.0
_QUOTAS = ("requests", "similarities")
_MOST_COLLECTIONS = 1000  # with series of their own: clients make and delete any number, and series cannot be removed
_OTHERS = "other"  # the label of all further ones


@dataclass(frozen=True)
class Sources:
    """The sources of the counts."""

    engine: Engine
    quotas: Callable[[], QuotaCounts]
    usage: Callable[[], UsageCounts]
    collections: Callable[[], Mapping[str, CollectionCounts]]
    ready: Callable[[], bool]  # whether this worker is ready, by the latest probes
    lost: Callable[[], Mapping[str, bool]]  # by dependency, whether it is lost


class Gauges:
    """Publishes the counts of one application as its metrics. Safe to use from several threads."""

    def __init__(self, metrics: Metrics, sources: Sources, model: str) -> None:
        """Set the constant metrics. model: the name of the default model."""
        self._metrics, self._sources = metrics, sources
        self._lock = threading.Lock()
        self._published: dict[tuple[Counter, tuple[str, ...]], float] = {}  # the counters' last totals
        self._collections: set[str] = set()  # labels that were ever published
        self._failing: set[str] = set()  # parts whose last publication failed
        metrics.build_info.labels(version(), model).set(1)
        metrics.workers.set(1)
        if limit := memory_limit():
            metrics.memory_limit_bytes.set(limit)

    def publish(self) -> None:
        """Update all metrics. A source that fails does not stop the others; its failure is logged once."""
        sources = self._sources
        parts: dict[str, Callable[[], None]] = {
            "the process": self._publish_process,
            "the engine": lambda: self._publish_engine(sources.engine.counts()),
            "quotas": lambda: self._publish_quotas(sources.quotas()),
            "usage": lambda: self._publish_usage(sources.usage()),
            "collections": lambda: self._publish_collections(sources.collections()),
        }
        with self._lock:
            for name, publish in parts.items():
                try:
                    publish()
                except Exception:  # one failing source does not stop the others
                    if name not in self._failing:
                        log.exception("publishing the metrics of %s failed", name)
                    self._failing.add(name)
                else:
                    self._failing.discard(name)

    def _publish_process(self) -> None:
        self._metrics.process_memory_bytes.set(resident_bytes())
        self._metrics.ready.set(self._sources.ready())
        for dependency, lost in self._sources.lost().items():
            self._metrics.breaker_open.labels(dependency).set(lost)

    def _publish_engine(self, counts: EngineCounts | None) -> None:
        if counts is None:
            return
        self._publish_threads_and_cache(counts)
        if counts.encoder_lost is not None:
            self._metrics.breaker_open.labels("encoder").set(counts.encoder_lost)
        for model, encoder in counts.encoders.items():
            self._publish_encoder(model, encoder)
        for model, replicas in counts.replicas.items():
            self._publish_replicas(model, replicas)

    def _publish_usage(self, counts: UsageCounts) -> None:
        self._metrics.usage_waiting_rows.set(counts.waiting)
        self._raise(self._metrics.usage_dropped_total, counts.dropped)

    def _publish_threads_and_cache(self, counts: EngineCounts) -> None:
        metrics, cache = self._metrics, counts.cache
        metrics.requests_running.set(counts.running)
        metrics.requests_waiting.set(counts.admitted - counts.running)
        self._raise(metrics.cache_hits_total, cache.hits)
        self._raise(metrics.cache_misses_total, cache.misses)
        self._raise(metrics.cache_evictions_total, cache.evictions)
        metrics.cache_entries.set(cache.entries)
        metrics.cache_bytes.set(cache.bytes)
        if counts.replicas:
            lost = not all(replicas.available for replicas in counts.replicas.values())
            metrics.breaker_open.labels("cache_redis").set(lost)

    def _publish_encoder(self, model: str, counts: EncoderCounts) -> None:
        metrics = self._metrics
        for texts, passes in counts.passes.items():
            self._raise(metrics.encoder_passes_total, passes, model, str(texts))
        self._raise(metrics.encoded_texts_total, counts.texts, model)
        self._raise(metrics.encoded_tokens_total, counts.tokens, model)
        metrics.encoder_pending_texts.labels(model).set(counts.pending)
        metrics.encoder_token_seconds.labels(model).set(counts.seconds_per_token)

    def _publish_replicas(self, model: str, counts: ReplicaCounts) -> None:
        metrics = self._metrics
        self._raise(metrics.replica_cache_hits_total, counts.hits, model)
        self._raise(metrics.replica_cache_misses_total, counts.misses, model)
        self._raise(metrics.replica_cache_corrupt_total, counts.corrupt, model)
        self._raise(metrics.replica_cache_errors_total, counts.errors, model)
        self._raise(metrics.replica_cache_dropped_total, counts.dropped, model)

    def _publish_quotas(self, counts: QuotaCounts) -> None:
        metrics = self._metrics
        for quota in _QUOTAS:
            self._raise(metrics.quota_refusals_total, counts.refused.get(quota, 0), quota)
        self._raise(metrics.quota_alone_total, counts.alone)
        self._raise(metrics.quota_redis_errors_total, counts.errors)
        self._raise(metrics.quota_counters_reset_total, counts.resets)
        if counts.available is not None:
            metrics.breaker_open.labels("quota_redis").set(not counts.available)

    def _publish_collections(self, counts: Mapping[str, CollectionCounts]) -> None:
        """A removed collection counts as empty and intact, since its series cannot be removed."""
        metrics = self._metrics
        by_label: dict[str, list[CollectionCounts]] = {label: [] for label in self._collections}
        for name, collection in counts.items():
            has_room = name in by_label or len(by_label) < _MOST_COLLECTIONS
            by_label.setdefault(name if has_room else _OTHERS, []).append(collection)
        self._collections.update(by_label)
        for label, group in by_label.items():
            metrics.index_passages.labels(label).set(sum(each.passages for each in group))
            metrics.index_bytes.labels(label).set(sum(each.bytes for each in group))
            metrics.index_certified.labels(label).set(all(each.certified for each in group))

    def _raise(self, counter: Counter, total: float, *labels: str) -> None:
        """Increase a counter to a total, which only grows."""
        key = (counter, labels)
        increase = total - self._published.get(key, 0)
        if increase or key not in self._published:  # the first call creates the series, even at 0
            (counter.labels(*labels) if labels else counter).inc(increase)
            self._published[key] = total
