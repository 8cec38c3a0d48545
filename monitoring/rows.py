"""The rows of the dashboard, in the order of troubleshooting."""

from __future__ import annotations

from dataclasses import replace

from app.api.dialects.detect import PATHS
from app.health.targets import MEMORY_BYTES, RERANK_MS, SIMILARITY_MS
from app.settings import EngineSettings
from monitoring.dashboard import Panel
from monitoring.promql import ROUTE, WORK, gauge, increase, quantile, rate, share

BREAKERS = [
    "QrerankKeysLost",
    "QrerankIssuerLost",
    "QrerankCacheRedisLost",
    "QrerankQuotaRedisLost",
    "QrerankEncoderLost",
]

_BAD_SHARE = 0.01  # of the requests: the error budget
_BAD = {"5xx": share(rate("requests_total", where=f'{WORK}, status=~"5.."'), rate("requests_total", where=WORK))}
_PARTS = (0.5, 0.95, 0.99)
_UP_TO_100 = f'route=~"{"|".join(PATHS)}", documents=~"1-20|21-50|51-100", outcome="ok"'
_PAIR = 'route=~"/similarity|/v1/similarity", outcome="ok"'
_OK = f'{ROUTE}, outcome="ok"'
_HITS, _MISSES = rate("cache_hits_total"), rate("cache_misses_total")
_SHARED_HITS, _SHARED_MISSES = rate("replica_cache_hits_total", "model"), rate("replica_cache_misses_total", "model")
_MEMORY, _WORKERS = gauge("sum", "process_memory_bytes", "instance"), gauge("sum", "workers", "instance")


# Both among the numbers at a glance, and as curves below.
_ERRORS = Panel(
    "Answered 5xx",
    "Share of requests: overload, deadlines, lost keys, faults. Above 1 % the error budget burns. See the rejections.",
    "percentunit",
    _BAD,
    limit=_BAD_SHARE,
    alerts=["QrerankAvailability", "QrerankErrors"],
)
_RERANKING = Panel(
    "Reranking up to 100 documents",
    "A p95 near the default deadline (400 ms) is normal for new texts; above 500 ms, look at the stages.",
    "s",
    {f"p{100 * part:g}": quantile(part, "request_seconds", where=_UP_TO_100) for part in _PARTS},
    limit=RERANK_MS / 1000,
    alerts=["QrerankSlow"],
)


def _by(label: str, title: str, look: str) -> Panel:
    return Panel(title, look, "reqps", {f"{{{{{label}}}}}": rate("requests_total", label, ROUTE)}, "stacked")


ROWS = {
    "At a glance": [
        Panel(
            "Requests",
            "Request rate. Zero during working hours means that requests do not arrive: check the network path.",
            "reqps",
            {"requests": rate("requests_total", where=WORK)},
            "number",
        ),
        replace(_RERANKING, kind="number"),
        replace(_ERRORS, kind="number"),
        Panel(
            "Ready",
            "Share of workers that are ready. Below 1, some are loading, draining or failed.",
            "percentunit",
            {"ready": f"{gauge('sum', 'ready')} / {gauge('sum', 'workers')}"},
            "number",
            least=1.0,
            alerts=["QrerankNotReady", "QrerankDown"],
        ),
        Panel(
            "Memory of a worker",
            "Average over all workers. Target: at most 2 GB.",
            "decbytes",
            {"resident": f"{gauge('sum', 'process_memory_bytes')} / {gauge('sum', 'workers')}"},
            "number",
            limit=MEMORY_BYTES,
            alerts=["QrerankMemory"],
        ),
        Panel(
            "Breakers open",
            "Dependencies that are lost; should be 0.",
            "short",
            {"open": gauge("sum", "breaker_open")},
            "number",
            limit=1,
            alerts=BREAKERS,
        ),
    ],
    "Traffic": [
        _by("route", "Requests by route", "The cost of routes differs by a factor of 100."),
        _by(
            "status",
            "Requests by status",
            "4xx: client errors; 5xx: server errors; 429: a quota; 503: mostly overload.",
        ),
        _ERRORS,
        _by("dialect", "Requests by dialect", "The client's API dialect; a client update may change it."),
        _by("tier", "Requests by tier", "Traffic by tier. none: not authenticated, or authentication is off."),
        _by("method", "Requests by ranking method", "none: requests that rank nothing, or were rejected."),
    ],
    "Latency": [
        _RERANKING,
        Panel(
            "Similarity of a pair",
            "It has no deadline and encodes both texts, so it follows the encoder's load.",
            "s",
            {f"p{100 * part:g}": quantile(part, "request_seconds", where=_PAIR) for part in _PARTS},
            limit=SIMILARITY_MS / 1000,
            alerts=["QrerankSimilaritySlow"],
        ),
        Panel(
            "How long answers took",
            "Two bands: cached and new texts. A rising band is load; one at the deadline is incomplete responses.",
            "s",
            {"{{le}}": increase("request_seconds", _OK)},
            "heatmap",
        ),
        Panel(
            "p95 by number of documents",
            "More documents take longer, up to the deadline; the smallest requests should be the fastest.",
            "s",
            {"{{documents}} documents": quantile(0.95, "request_seconds", "documents", _OK)},
        ),
        Panel(
            "p95 by route",
            "The mix of routes affects the overall p95.",
            "s",
            {"{{route}}": quantile(0.95, "request_seconds", "route", _OK)},
        ),
        Panel(
            "Requests by outcome",
            "refused: expected, the response says what to do; gone: the client left; failed: a fault, see the log.",
            "reqps",
            {"{{outcome}}": rate("request_seconds_count", "outcome", ROUTE)},
            "stacked",
            alerts=["QrerankErrors"],
        ),
    ],
    "Stages": [
        Panel(
            "Where a request's time goes",
            "Mean per stage. queue and wait grow with load, encode with new texts; the others should be constant.",
            "s",
            {"{{stage}}": f"{rate('stage_seconds_sum', 'stage')} / {rate('stage_seconds_count', 'stage')}"},
            "stacked",
            alerts=["QrerankSlow"],
        ),
        Panel(
            "p95 of each stage",
            "A stage whose p95 is far above its mean waits for something.",
            "s",
            {"{{stage}}": quantile(0.95, "stage_seconds", "stage")},
        ),
        Panel(
            "Requests in each stage",
            "Average number of concurrent requests per stage. The largest is the bottleneck.",
            "short",
            {"{{stage}}": rate("stage_seconds_sum", "stage")},
            "stacked",
            alerts=["QrerankWaiting"],
        ),
    ],
    "Work": [
        Panel(
            "Documents ranked",
            "cached: almost free; encoded: most of the CPU time; unread: skipped because time ran out.",
            "cps",
            {"{{read}}": rate("documents_total", "read")},
            "stacked",
        ),
        Panel(
            "Answers that are less than they could be",
            "cut: unread documents are ranked by BM25 alone; a high share: more new texts than the CPUs can encode. "
            "Without a ranker: it had no time for all documents, or failed.",
            "percentunit",
            {
                "cut": share(rate("requests_cut_total", where=ROUTE), rate("request_documents_count", where=ROUTE)),
                "without {{ranker}}": share(rate("rankers_dropped_total", "ranker"), rate("request_documents_count")),
            },
        ),
        Panel(
            "Forward passes by texts in one",
            "Under load passes should carry several texts; many of one text are similarities and queries.",
            "cps",
            {"{{texts}} texts": rate("encoder_passes_total", "texts")},
            "stacked",
        ),
        Panel(
            "Tokens read",
            "The encoder's throughput. A plateau with rising latency is the machine's capacity.",
            "cps",
            {"{{model}}": rate("encoded_tokens_total", "model")},
        ),
        Panel(
            "Documents of a request",
            "The size of requests; larger ones raise the p95 without any fault.",
            "short",
            {"{{le}}": increase("request_documents", ROUTE)},
            "heatmap",
        ),
        Panel(
            "Work of a request",
            "units: a query compared with up to 1000 characters is one, as in quotas; tokens: those encoded.",
            "short",
            {f"{name} p95": quantile(0.95, f"request_{name}", where=ROUTE) for name in ("units", "tokens")},
        ),
    ],
    "Saturation": [
        Panel(
            "Running and waiting",
            "Waiting should be short peaks; the line is per worker, whose QRERANK_ENGINE__REQUESTS threads are busy.",
            "short",
            {"running": gauge("sum", "requests_running"), "waiting": gauge("sum", "requests_waiting")},
            limit=EngineSettings().queue_requests / 4,
            alerts=["QrerankWaiting"],
        ),
        Panel(
            "Rejections by reason",
            "overloaded: load shedding; too-late: a deadline passed. Most others are client errors.",
            "reqps",
            {"{{reason}}": rate("rejections_total", "reason")},
            "stacked",
            alerts=["QrerankOverloaded", "QrerankQuotaExhausted"],
        ),
        Panel(
            "Event loop lag",
            "The delay of due tasks, which delays every response. A long one means that something blocks the loop.",
            "s",
            {f"p{100 * part:g}": quantile(part, "event_loop_lag_seconds") for part in (0.5, 0.95, 0.99)},
            limit=0.1,
            alerts=["QrerankLoopLag"],
        ),
        Panel(
            "Texts that wait for the encoder",
            "Texts not encoded in time are skipped: a persistent queue is wasted work.",
            "short",
            {"{{model}}": gauge("sum", "encoder_pending_texts", "model")},
        ),
        Panel(
            "Learned cost of a token",
            "As measured by the slowest worker. A rise without load: the machine is slower, or shared.",
            "s",
            {"{{model}}": gauge("max", "encoder_token_seconds", "model")},
        ),
        Panel(
            "Refused for quotas",
            "By quota. Steady rejections: a caller without back-off, or a tier that is too small.",
            "reqps",
            {"{{quota}}": rate("quota_refusals_total", "quota")},
            "stacked",
            alerts=["QrerankQuotaExhausted"],
        ),
    ],
    "Cache": [
        Panel(
            "Hit ratio",
            "It falls after a restart, with new texts, and if the cache is too small: then evictions rise.",
            "percentunit",
            {"this process": f"{_HITS} / ({_HITS} + {_MISSES})"},
            alerts=["QrerankCacheCollapse"],
        ),
        Panel(
            "Evictions",
            "As many evictions as misses: the cache is full and too small.",
            "cps",
            {"evicted": rate("cache_evictions_total"), "missed": _MISSES},
            alerts=["QrerankCacheCollapse"],
        ),
        Panel(
            "Bytes",
            "Compare with QRERANK_CACHE__MAX_BYTES, which applies to each worker.",
            "bytes",
            {"{{instance}}": gauge("sum", "cache_bytes", "instance")},
        ),
        Panel(
            "Hit ratio of Redis",
            "Of the texts that a process had not cached itself: the work that processes save each other.",
            "percentunit",
            {"{{model}}": f"{_SHARED_HITS} / ({_SHARED_HITS} + {_SHARED_MISSES})"},
        ),
        Panel(
            "Failures of Redis",
            "dropped: states not written because Redis was lost, full or slow. corrupt: invalid records.",
            "cps",
            {name: rate(f"replica_cache_{name}_total") for name in ("errors", "dropped", "corrupt")},
            alerts=["QrerankCacheRedisLost"],
        ),
        Panel(
            "Texts cached",
            "Bytes for each text tell how long texts are.",
            "short",
            {"{{instance}}": gauge("sum", "cache_entries", "instance")},
        ),
    ],
    "Dependencies and collections": [
        Panel(
            "Breakers open",
            "1 while a dependency is lost. keys, issuer: new callers are refused; Redis: it costs speed or exactness; "
            "encoder: new texts are scored by their words.",
            "short",
            {"{{dependency}} {{instance}}": gauge("max", "breaker_open", "dependency, instance")},
            limit=1,
            alerts=BREAKERS,
        ),
        Panel(
            "Quotas without Redis",
            "alone: each process counts for itself, so quotas are larger. reset: invalid counters.",
            "reqps",
            {name: rate(f"quota_{name}_total") for name in ("alone", "redis_errors", "counters_reset")},
            alerts=["QrerankQuotaRedisLost"],
        ),
        Panel(
            "Usage that is not written",
            "waiting: rows, which grow while the database rejects writes. dropped: uncounted requests per second.",
            "short",
            {"waiting": gauge("sum", "usage_waiting_rows"), "dropped": rate("usage_dropped_total")},
            alerts=["QrerankKeysLost"],
        ),
        Panel(
            "Integrity of collections",
            "1: the last integrity check passed; 0: it failed, and the collection is not searched.",
            "short",
            {"{{collection}} {{instance}}": gauge("min", "index_certified", "collection, instance")},
            least=1,
            alerts=["QrerankIndexUncertified"],
        ),
        Panel(
            "Passages",
            "Passages per collection. Different numbers mean that processes have different files.",
            "short",
            {"{{collection}}": gauge("max", "index_passages", "collection")},
        ),
        Panel(
            "Bytes of the files",
            "Read as they are searched; only the index is in the processes' memory.",
            "bytes",
            {"{{collection}}": gauge("max", "index_bytes", "collection")},
        ),
    ],
    "Processes": [
        Panel(
            "Memory of a worker",
            "It rises while caches fill, to QRERANK_CACHE__MAX_BYTES and what models take; then it should be flat.",
            "decbytes",
            {"{{instance}}": f"{_MEMORY} / {_WORKERS}"},
            limit=MEMORY_BYTES,
            alerts=["QrerankMemory"],
        ),
        Panel(
            "Workers and those ready",
            "They differ while workers load or drain; a lasting difference means that one failed.",
            "short",
            {"workers {{instance}}": _WORKERS, "ready {{instance}}": gauge("sum", "ready", "instance")},
            alerts=["QrerankNotReady", "QrerankDown"],
        ),
        Panel(
            "Versions",
            "One, except during an upgrade. A new model starts with an empty cache.",
            "short",
            {"{{version}} with {{model}}": gauge("sum", "build_info", "version, model")},
            "stacked",
        ),
    ],
}
