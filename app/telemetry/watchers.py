"""What is done with each finished request's record: the access log, the Prometheus metrics and usage accounting."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Set
from http import HTTPStatus
from typing import Any
from zlib import crc32

from app.auth.usage import Usage
from app.ranking.cross_encoding import NAME as CROSS_ENCODER
from app.ranking.hybrid import RANKERS
from app.telemetry.logs import FACTS
from app.telemetry.metrics import Metrics
from app.telemetry.request_record import CLIENT_GONE, RequestRecord, Watcher

log = logging.getLogger("app.telemetry.access_log")

PROBES = {"/health", "/health/ready", "/health/detailed", "/metrics"}  # polled every few seconds
_HASHES = 2**32


def log_requests(share: float) -> Watcher:
    """A watcher that writes a line for a sample of the requests, and for every 5xx response.

    Sampling hashes the request id (CRC-32), so that all replicas and proxies that do the same select the same requests.
    share: the sampled share, 0 to 1.
    """

    def write(record: RequestRecord) -> None:
        level = _level(record)
        if log.isEnabledFor(level) and (level >= logging.WARNING or is_sampled(record.request_id, share)):
            log.log(level, "request", extra={FACTS: facts(record)})

    return write


def is_sampled(request_id: str, share: float) -> bool:
    """Whether a request belongs to the sample. share: 0 to 1."""
    return crc32(request_id.encode()) < share * _HASHES


def facts(record: RequestRecord) -> dict[str, Any]:
    """The log fields of a request: counts, names and times. Fields without a value are omitted."""
    fields = {
        "request_id": record.request_id,  # on a WebSocket each request has its own
        "http_method": record.http_method,
        "route": record.route,
        "status": int(record.status),
        "problem": record.problem,
        "ms": round(record.seconds * 1e3, 2),
        "who": record.identity and record.identity.name,
        "tier": record.identity and record.identity.tier,
        "origin": record.origin,
        "dialect": record.dialect,
        "model": record.done.model,
        "method": record.done.method,
        "documents": record.done.documents,
        "tokens": record.done.tokens,
    }
    done = record.done
    if done.encoded or done.cached or done.skipped:
        fields |= {"encoded": done.encoded, "known": done.cached, "unread": done.skipped, "cut": done.incomplete}
    return {name: value for name, value in fields.items() if value is not None}


def _level(record: RequestRecord) -> int:
    if record.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return logging.ERROR
    if record.route in PROBES:
        return logging.DEBUG
    return logging.WARNING if record.status > HTTPStatus.INTERNAL_SERVER_ERROR else logging.INFO


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
    sizes = (metrics.request_documents, metrics.request_units, metrics.request_tokens)
    for ranker in (*RANKERS, CROSS_ENCODER):  # from 0, so that the first one is a rise
        metrics.rankers_dropped_total.labels(ranker)

    def count(record: RequestRecord) -> None:
        done = record.done
        method, dialect = done.method or NONE, record.dialect or NONE
        http_method = record.http_method if record.http_method in _HTTP_METHODS else OTHER
        tier = record.identity.tier if record.identity else NONE
        metrics.requests_total.labels(record.route, http_method, dialect, method, tier, record.status).inc()
        outcome = outcome_of(record.status)
        metrics.request_seconds.labels(record.route, method, size_of(done.documents), outcome).observe(record.seconds)
        for stage, ms in record.watch.ms.items():
            metrics.stage_seconds.labels(stage).observe(ms / 1e3)
        for histogram, size in zip(sizes, (done.documents, record.units, done.tokens), strict=True):
            if size is not None:
                histogram.labels(record.route).observe(size)
        for read, documents in (("encoded", done.encoded), ("cached", done.cached), ("unread", done.skipped)):
            if documents:
                metrics.documents_total.labels(read).inc(documents)
        _count_incomplete(metrics, record)
        if record.problem and outcome == "refused":
            metrics.rejections_total.labels(record.problem if record.problem in reasons else OTHER).inc()

    return count


def _count_incomplete(metrics: Metrics, record: RequestRecord) -> None:
    if record.done.incomplete:
        metrics.requests_cut_total.labels(record.route).inc()
    for ranker in record.done.dropped:
        metrics.rankers_dropped_total.labels(ranker).inc()


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


_REJECTED = {403, 413, 429, 503}  # by role, limit, quota or overload


def count_usage(usage: Usage) -> Watcher:
    """A watcher that counts requests, documents, tokens and rejections of every authenticated caller."""

    def count(record: RequestRecord) -> None:
        if record.identity is not None:
            usage.count(
                record.identity,
                requests=1,
                documents=record.done.documents or 0,
                tokens=record.done.tokens or 0,
                rejected=int(record.status in _REJECTED),
            )

    return count
