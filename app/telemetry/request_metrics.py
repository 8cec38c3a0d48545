"""Prometheus metrics of requests. The number of series is bounded, whatever clients send."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Set
from http import HTTPStatus

from app.ranking.job import milliseconds
from app.telemetry.metrics import Metrics
from app.telemetry.request_record import CLIENT_GONE, RequestRecord, Watcher

NONE = "none"  # the label of a missing value
OTHER = "other"  # the label of an unknown value

_HTTP_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WS"})
_SIZES = (20, 50, 100)
_SIZE_LABELS = ("1-20", "21-50", "51-100", "101+")
_REJECTIONS = {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
# Reasons of the framework's own rejections.
_FRAMEWORK_REASONS = {status.phrase.lower().replace(" ", "-") for status in HTTPStatus if 400 <= status < 500}


def count_requests(metrics: Metrics, kinds: Set[str]) -> Watcher:
    """A watcher that updates the metrics with every finished request. kinds: the error kinds of the API."""
    reasons = kinds | _FRAMEWORK_REASONS

    def count(record: RequestRecord) -> None:
        done = record.done
        method, dialect = done.method or NONE, record.dialect or NONE
        http_method = record.http_method if record.http_method in _HTTP_METHODS else OTHER
        tier = record.identity.tier if record.identity else NONE
        metrics.requests_total.labels(record.route, http_method, dialect, method, tier, record.status).inc()
        outcome = outcome_of(record.status)
        metrics.request_seconds.labels(record.route, method, size_of(done.documents), outcome).observe(record.seconds)
        for stage, ms in milliseconds(record.watch.laps).items():
            metrics.stage_seconds.labels(stage).observe(ms / 1e3)
        sizes = (
            (metrics.request_documents, done.documents),
            (metrics.request_units, record.units),
            (metrics.request_tokens, done.tokens),
        )
        for histogram, size in sizes:
            if size is not None:
                histogram.labels(record.route).observe(size)
        for read, documents in (("encoded", done.encoded), ("cached", done.cached), ("unread", done.skipped)):
            if documents:
                metrics.documents_total.labels(read).inc(documents)
        if done.incomplete:
            metrics.requests_cut_total.labels(record.route).inc()
        if record.problem and outcome == "refused":
            metrics.rejections_total.labels(record.problem if record.problem in reasons else OTHER).inc()

    return count


def size_of(documents: int | None) -> str:
    """The label of a request's size: its number of documents, as a range."""
    return _SIZE_LABELS[bisect_left(_SIZES, documents)] if documents else NONE


def outcome_of(status: int) -> str:
    """A request's outcome by status: ok, refused for an expected reason, gone (the client left), or failed."""
    if status < HTTPStatus.BAD_REQUEST:
        return "ok"
    if status == CLIENT_GONE:
        return "gone"
    return "refused" if status < HTTPStatus.INTERNAL_SERVER_ERROR or status in _REJECTIONS else "failed"
