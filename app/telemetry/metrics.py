"""Prometheus metrics: of this process alone, or of all workers of a service."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics import MetricWrapperBase

from app.telemetry.catalogue import FAMILIES, Family
from app.telemetry.worker_files import WorkerFiles

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # the workers' files; prometheus_client reads this variable on import

disable_created_metrics()  # type: ignore[no-untyped-call] # an extra series per metric, which does not exist in multiprocess mode


class Metrics:
    """The metrics of one application, one attribute each. Safe to use from several threads."""

    requests_total: Counter
    request_seconds: Histogram
    stage_seconds: Histogram
    request_documents: Histogram
    request_units: Histogram
    request_tokens: Histogram
    documents_total: Counter
    requests_cut_total: Counter
    rankers_dropped_total: Counter
    rejections_total: Counter
    encoder_passes_total: Counter
    encoded_texts_total: Counter
    encoded_tokens_total: Counter
    encoder_pending_texts: Gauge
    encoder_token_seconds: Gauge
    requests_running: Gauge
    requests_waiting: Gauge
    cache_hits_total: Counter
    cache_misses_total: Counter
    cache_evictions_total: Counter
    cache_entries: Gauge
    cache_bytes: Gauge
    replica_cache_hits_total: Counter
    replica_cache_misses_total: Counter
    replica_cache_corrupt_total: Counter
    replica_cache_errors_total: Counter
    replica_cache_dropped_total: Counter
    quota_refusals_total: Counter
    quota_alone_total: Counter
    quota_redis_errors_total: Counter
    quota_counters_reset_total: Counter
    usage_waiting_rows: Gauge
    usage_dropped_total: Counter
    breaker_open: Gauge
    index_passages: Gauge
    index_bytes: Gauge
    index_certified: Gauge
    process_memory_bytes: Gauge
    memory_limit_bytes: Gauge
    workers: Gauge
    ready: Gauge
    event_loop_lag_seconds: Histogram
    build_info: Gauge

    def __init__(self) -> None:
        """Create all metrics at zero in a registry of this process."""
        self._own = CollectorRegistry()
        self._metrics = {family.short: _metric(family, self._own) for family in FAMILIES}
        for name, metric in self._metrics.items():
            setattr(self, name, metric)
        folder = os.environ.get(FOLDER)
        self._all = WorkerFiles(Path(folder)) if folder else None

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The metrics of all workers in the text format that an Accept header selects, and its media type."""
        try:
            encode, media_type = choose_encoder(accept)
        except (TypeError, ValueError):  # an invalid version
            encode, media_type = choose_encoder("")
        return encode(self._all or self._own), media_type

    def histograms(self) -> Iterable[Metric]:
        """The histograms of all workers, with cumulative buckets."""
        if self._all:
            return self._all.histograms()
        histograms = [metric for metric in self._metrics.values() if isinstance(metric, Histogram)]
        return [family for histogram in histograms for family in histogram.collect()]


def _metric(family: Family, registry: CollectorRegistry) -> MetricWrapperBase:
    if family.type == "counter":
        return Counter(family.name, family.help, family.labels, registry=registry)
    if family.type == "gauge":
        return Gauge(family.name, family.help, family.labels, registry=registry, multiprocess_mode=family.over)
    return Histogram(family.name, family.help, family.labels, registry=registry, buckets=family.buckets)
