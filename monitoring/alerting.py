"""The alerts."""

from __future__ import annotations

from app.health.targets import MEMORY_BYTES, RERANK_MS, SIMILARITY_MS
from monitoring.alerts import Alert, Severity
from monitoring.limits import (
    BAD_SHARE,
    COLLAPSE_FROM,
    COLLAPSED_TO,
    FAULT_SHARE,
    LAG_S,
    LOOKUPS_PER_S,
    OVERLOADED_SHARE,
    QUOTA_SHARE,
    WAITING,
)
from monitoring.promql import UP, Matches, Query, View, one_of
from monitoring.registry import JOB, RERANK, SIMILARITY, UP_TO_100, WORK, metrics


def _across(over: str) -> View:
    """All processes of one job together."""
    return View(over, by=("job",))


def _each(over: str) -> View:
    """Every process, or the workers behind one address, for itself."""
    return View(over, by=("job", "instance"))


def _bad(over: str) -> Query:
    """The part of the requests that were answered 5xx."""
    view = _across(over)
    bad = view.rate(metrics.requests_total, route=WORK, status=Matches("5.."))
    return bad / view.rate(metrics.requests_total, route=WORK)


def _refused(over: str, reason: str) -> Query:
    """The part of the requests that were refused for this."""
    view = _across(over)
    return view.rate(metrics.rejections_total, reason=reason) / view.rate(metrics.requests_total, route=WORK)


def _p95(routes: tuple[str, ...], **where: Matches) -> Query:
    return _across("5m").quantile(0.95, metrics.request_seconds, route=one_of(routes), outcome="ok", **where)


def _collapse() -> Query:
    now, usual = _hit_ratio("15m"), _hit_ratio("6h")
    asked = _lookups("15m") > LOOKUPS_PER_S
    return (now < usual * COLLAPSED_TO).both(usual > COLLAPSE_FROM).both(asked)


def _lookups(over: str) -> Query:
    view = _across(over)
    return view.rate(metrics.cache_hits_total) + view.rate(metrics.cache_misses_total)


def _hit_ratio(over: str) -> Query:
    return _across(over).rate(metrics.cache_hits_total) / _lookups(over)


_WORKERS = _each("5m").total(metrics.workers)

_UP = View("1m", by=("job", "instance"), where={"job": JOB})

_SERVICE = [
    Alert(
        "QrerankDown",
        "critical",
        _UP.lowest(UP).equals(0).either(_UP.absent(UP, job=JOB).told("instance", "anywhere")),
        1,
        "No metrics of {{ $labels.job }} from {{ $labels.instance }}",
        "Prometheus could not read them for a minute: the process is gone, hangs, or cannot be reached.",
    ),
    Alert(
        "QrerankNotReady",
        "critical",
        _each("5m").total(metrics.ready) < _each("5m").total(metrics.workers),
        5,
        "Not all workers of {{ $labels.instance }} are ready",
        "{{ $value }} are, for five minutes: others load, drain or failed. /health/ready says which, and why.",
    ),
    Alert(
        "QrerankAvailability",
        "critical",
        (_bad("5m") > BAD_SHARE).both(_bad("1h") > BAD_SHARE),
        5,
        "{{ $labels.job }} answers too many requests with 5xx",
        "{{ $value | humanizePercentage }} in the last five minutes, and more than 1 % in the last hour.",
    ),
    Alert(
        "QrerankErrors",
        "warning",
        _across("15m").rate(metrics.request_seconds.count, route=WORK, outcome="failed")
        / _across("15m").rate(metrics.request_seconds.count, route=WORK)
        > FAULT_SHARE,
        5,
        "{{ $labels.job }} fails on requests",
        "{{ $value | humanizePercentage }} in the last 15 minutes met a fault; the log has each by its request id.",
    ),
    Alert(
        "QrerankSlow",
        "warning",
        _p95(RERANK, documents=one_of(UP_TO_100)) > RERANK_MS / 1000,
        5,
        "{{ $labels.job }} reranks too slowly",
        "p95 for up to 100 documents is {{ $value | humanizeDuration }}; promised are 500 ms.",
    ),
    Alert(
        "QrerankSimilaritySlow",
        "warning",
        _p95(SIMILARITY) > SIMILARITY_MS / 1000,
        5,
        "{{ $labels.job }} compares texts too slowly",
        "p95 for a pair is {{ $value | humanizeDuration }}; promised are 100 ms.",
    ),
]

_LOAD = [
    Alert(
        "QrerankWaiting",
        "warning",
        _each("5m").usual(metrics.requests_waiting) / _WORKERS > WAITING,
        5,
        "Requests wait for a thread in {{ $labels.instance }}",
        "{{ $value | humanize }} in each worker, on average over five minutes.",
    ),
    Alert(
        "QrerankOverloaded",
        "warning",
        _refused("5m", "overloaded") > OVERLOADED_SHARE,
        5,
        "{{ $labels.job }} is overloaded",
        "{{ $value | humanizePercentage }} of the requests are refused, so that the others need not wait for them.",
    ),
    Alert(
        "QrerankLoopLag",
        "warning",
        _each("5m").quantile(0.99, metrics.event_loop_lag_seconds) > LAG_S,
        5,
        "The event loop of {{ $labels.instance }} is held up",
        "1 % of the time it is more than {{ $value | humanizeDuration }} late, and every answer waits as long.",
    ),
    Alert(
        "QrerankMemory",
        "warning",
        _each("5m").total(metrics.process_memory_bytes) / _WORKERS > MEMORY_BYTES,
        10,
        "{{ $labels.instance }} takes too much memory",
        "{{ $value | humanize }}B for each worker, on average over them; promised are at most 2 GB.",
    ),
    Alert(
        "QrerankCacheCollapse",
        "warning",
        _collapse(),
        15,
        "{{ $labels.job }} remembers far fewer texts than usual",
        "{{ $value | humanizePercentage }} in the last 15 minutes, not half of what it was in the last six hours.",
    ),
    Alert(
        "QrerankQuotaExhausted",
        "info",
        _refused("15m", "too-many-requests") > QUOTA_SHARE,
        15,
        "Callers of {{ $labels.job }} go on beyond their quotas",
        "{{ $value | humanizePercentage }} of the requests in the last 15 minutes were refused with 429.",
    ),
]


def _lost(name: str, dependency: str, severity: Severity, minutes: int, *texts: str) -> Alert:
    when = _each("1m").highest(metrics.breaker_open, dependency=dependency).equals(1)
    return Alert(name, severity, when, minutes, *texts)


_DEPENDENCIES = [
    _lost(
        "QrerankKeysLost",
        "keys",
        "critical",
        1,
        "{{ $labels.instance }} cannot ask the database of keys",
        "Requests with keys of the database are answered 503; keys of the environment and tokens go on.",
    ),
    _lost(
        "QrerankIssuerLost",
        "issuer",
        "warning",
        10,
        "{{ $labels.instance }} cannot read the keys of the tokens' issuer",
        "Tokens signed with keys that were read before go on; those signed with new ones are refused.",
    ),
    _lost(
        "QrerankCacheRedisLost",
        "cache_redis",
        "warning",
        5,
        "{{ $labels.instance }} has lost the Redis of the cache",
        "It costs speed only: each process remembers for itself and reads what others know already.",
    ),
    _lost(
        "QrerankQuotaRedisLost",
        "quota_redis",
        "warning",
        5,
        "{{ $labels.instance }} has lost the Redis of the quotas",
        "Each process counts alone, so that callers have their quota once for each process.",
    ),
    Alert(
        "QrerankIndexUncertified",
        "critical",
        _each("1m").lowest(metrics.index_certified, "collection").equals(0),
        1,
        "The collection {{ $labels.collection }} fails its self-check on {{ $labels.instance }}",
        "It is not searched: requests for it are answered 503, since no answer is better than a wrong one.",
    ),
]

# The alerts by what they are about.
GROUPS = {"service": _SERVICE, "load": _LOAD, "dependencies": _DEPENDENCIES}
