"""What was seen of requests, counted. Whatever clients send, there are only so many series."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Set
from http import HTTPStatus

from app.ranking.stopwatch import milliseconds
from app.telemetry.metrics import Metrics
from app.telemetry.request_record import CLIENT_GONE, Observed, Watcher

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

    def count(seen: Observed) -> None:
        method, dialect = seen.method or NONE, seen.dialect or NONE
        http_method = seen.http_method if seen.http_method in _HTTP_METHODS else OTHER
        tier = seen.identity.tier if seen.identity else NONE
        metrics.requests_total.labels(seen.route, http_method, dialect, method, tier, seen.status).inc()
        times = metrics.request_seconds.labels(seen.route, method, size_of(seen.documents), outcome_of(seen.status))
        times.observe(seen.seconds)
        for stage, ms in milliseconds(seen.watch.laps).items():
            metrics.stage_seconds.labels(stage).observe(ms / 1e3)
        sizes = (
            (metrics.request_documents, seen.documents),
            (metrics.request_units, seen.units),
            (metrics.request_tokens, seen.tokens),
        )
        for histogram, size in sizes:
            if size is not None:
                histogram.labels(seen.route).observe(size)
        for read, documents in (("encoded", seen.encoded), ("cached", seen.known), ("unread", seen.unread)):
            if documents:
                metrics.documents_total.labels(read).inc(documents)
        if seen.cut:
            metrics.requests_cut_total.labels(seen.route).inc()
        if seen.problem and outcome_of(seen.status) == "refused":
            metrics.rejections_total.labels(seen.problem if seen.problem in reasons else OTHER).inc()

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
