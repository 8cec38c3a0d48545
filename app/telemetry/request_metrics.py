"""What was record of requests, counted. Whatever clients send, there are only so many series."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Set
from http import HTTPStatus

from app.ranking.job import milliseconds
from app.telemetry.metrics import Metrics
from app.telemetry.request_record import CLIENT_GONE, RequestRecord, Watcher

NONE = "none"  # in the place of what a request has not
OTHER = "other"  # in the place of what is not known here

_HTTP_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WS"})
_SIZES = (20, 50, 100)
_NAMES = ("1-20", "21-50", "51-100", "101+")
_FORESEEN = {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
# What the framework refuses by itself.
_REFUSED = {status.phrase.lower().replace(" ", "-") for status in HTTPStatus if 400 <= status < 500}


def count_requests(metrics: Metrics, kinds: Set[str]) -> Watcher:
    """A watcher that counts every request, how long it took, and what it was about. kinds: of problems there are."""
    reasons = kinds | _REFUSED

    def count(record: RequestRecord) -> None:
        done = record.done
        method, dialect = done.method or NONE, record.dialect or NONE
        http_method = record.http_method if record.http_method in _HTTP_METHODS else OTHER
        tier = record.identity.tier if record.identity else NONE
        metrics.requests_total.labels(record.route, http_method, dialect, method, tier, record.status).inc()
        times = metrics.request_seconds.labels(record.route, method, size_of(done.documents), outcome_of(record.status))
        times.observe(record.seconds)
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
        if record.problem and outcome_of(record.status) == "refused":
            metrics.rejections_total.labels(record.problem if record.problem in reasons else OTHER).inc()

    return count


def size_of(documents: int | None) -> str:
    """Which sizes of request one with so many documents is counted with."""
    return _NAMES[bisect_left(_SIZES, documents)] if documents else NONE


def outcome_of(status: int) -> str:
    """What became of a request: answered, refused for a reason that was foreseen, left by its client, or failed."""
    if status < HTTPStatus.BAD_REQUEST:
        return "ok"
    if status == CLIENT_GONE:
        return "gone"
    return "refused" if status < HTTPStatus.INTERNAL_SERVER_ERROR or status in _FORESEEN else "failed"
