"""Whether all is well; what is requested, how fast it is answered, and where the time goes."""

from app.api.dialects.detect import PATHS
from app.health.targets import MEMORY_BYTES, RERANK_MS, SIMILARITY_MS
from monitoring.dashboard import Panel
from monitoring.promql import ROUTE, WORK, gauge, increase, quantile, rate, share

BREAKERS = ["QrerankKeysLost", "QrerankIssuerLost", "QrerankCacheRedisLost", "QrerankQuotaRedisLost"]

_BAD_SHARE = 0.01  # of the requests: the error budget
_BAD = {"5xx": share(rate("requests_total", where=f'{WORK}, status=~"5.."'), rate("requests_total", where=WORK))}
_PARTS = (0.5, 0.95, 0.99)
_UP_TO_100 = f'route=~"{"|".join(PATHS)}", documents=~"1-20|21-50|51-100", outcome="ok"'
_PAIR = 'route=~"/similarity|/v1/similarity", outcome="ok"'
_OK = f'{ROUTE}, outcome="ok"'

GLANCE = [
    Panel(
        "Requests",
        "How much is asked. Nothing at all, when people are awake, means that nobody gets here: look at the way.",
        "reqps",
        {"requests": rate("requests_total", where=WORK)},
        "number",
    ),
    Panel(
        "p95 of reranking",
        "Of answers for up to 100 documents; promised are 500 ms.",
        "s",
        {"p95": quantile(0.95, "request_seconds", where=_UP_TO_100)},
        "number",
        limit=RERANK_MS / 1000,
        alerts=["QrerankSlow"],
    ),
    Panel(
        "Answered 5xx",
        "The part of all requests: overload, lateness, lost keys, faults. Promised is less than 1 %.",
        "percentunit",
        _BAD,
        "number",
        limit=_BAD_SHARE,
        alerts=["QrerankAvailability"],
    ),
    Panel(
        "Ready",
        "The part of the workers that can serve. Below 1 some load, drain or failed.",
        "percentunit",
        {"ready": f"{gauge('sum', 'ready')} / {gauge('sum', 'workers')}"},
        "number",
        least=1.0,
        alerts=["QrerankNotReady", "QrerankDown"],
    ),
    Panel(
        "Memory of a worker",
        "On average over all workers; promised are at most 2 GB.",
        "decbytes",
        {"resident": f"{gauge('sum', 'process_memory_bytes')} / {gauge('sum', 'workers')}"},
        "number",
        limit=MEMORY_BYTES,
        alerts=["QrerankMemory"],
    ),
    Panel(
        "Breakers open",
        "What the service depends on and has lost; nothing should be.",
        "short",
        {"open": gauge("sum", "breaker_open")},
        "number",
        limit=1,
        alerts=BREAKERS,
        idle=True,
    ),
]


def _by(label: str, title: str, look: str) -> Panel:
    return Panel(title, look, "reqps", {f"{{{{{label}}}}}": rate("requests_total", label, ROUTE)}, "stacked")


TRAFFIC = [
    _by("route", "Requests by route", "Which work there is. Routes differ a hundredfold in cost."),
    _by("status", "Requests by status", "4xx are the callers', 5xx ours; 429 is a quota, 503 mostly overload."),
    Panel(
        "Answered 5xx",
        "Above the line the error budget burns. Which kind it is, the rejections by reason say.",
        "percentunit",
        _BAD,
        limit=_BAD_SHARE,
        alerts=["QrerankAvailability", "QrerankErrors"],
    ),
    _by("dialect", "Requests by dialect", "Whose client it is: a client that was updated may change it."),
    _by("tier", "Requests by tier", "Whose traffic grows. none: nobody was let in, or nobody was asked for a key."),
    _by("method", "Requests by ranking method", "none: requests that rank nothing, or were refused."),
]

LATENCY = [
    Panel(
        "Reranking up to 100 documents",
        "A p95 near the default deadline (400 ms) is normal where texts are new; above the line look at the stages.",
        "s",
        {f"p{100 * part:g}": quantile(part, "request_seconds", where=_UP_TO_100) for part in _PARTS},
        limit=RERANK_MS / 1000,
        alerts=["QrerankSlow"],
    ),
    Panel(
        "Similarity of a pair",
        "It has no deadline and reads both texts, so it follows the load of the encoder.",
        "s",
        {f"p{100 * part:g}": quantile(part, "request_seconds", where=_PAIR) for part in _PARTS},
        limit=SIMILARITY_MS / 1000,
        alerts=["QrerankSimilaritySlow"],
    ),
    Panel(
        "How long answers took",
        "Two bands are cached and new texts. A band that moves up is load; one at the deadline is cut answers.",
        "s",
        {"{{le}}": increase("request_seconds", _OK)},
        "heatmap",
    ),
    Panel(
        "p95 by number of documents",
        "More documents take longer until the deadline cuts; the smallest should be the fastest.",
        "s",
        {"{{documents}} documents": quantile(0.95, "request_seconds", "documents", _OK)},
    ),
    Panel(
        "p95 by route",
        "Which work is slow; the mix of routes moves the p95 of all together.",
        "s",
        {"{{route}}": quantile(0.95, "request_seconds", "route", _OK)},
    ),
    Panel(
        "Requests by outcome",
        "refused: foreseen, the answer says what to do; gone: the client left; failed: a fault, which the log has.",
        "reqps",
        {"{{outcome}}": rate("request_seconds_count", "outcome", ROUTE)},
        "stacked",
        alerts=["QrerankErrors"],
    ),
]

STAGES = [
    Panel(
        "Where a request's time goes",
        "Mean of each stage. queue and wait grow with load, encode with new texts; the rest should not change.",
        "s",
        {"{{stage}}": f"{rate('stage_seconds_sum', 'stage')} / {rate('stage_seconds_count', 'stage')}"},
        "stacked",
        alerts=["QrerankSlow"],
    ),
    Panel(
        "p95 of each stage",
        "A stage whose p95 leaves its mean behind is one that waits for something.",
        "s",
        {"{{stage}}": quantile(0.95, "stage_seconds", "stage")},
    ),
    Panel(
        "Requests in each stage",
        "How many requests are in a stage at once, on average. Where they pile up is the bottleneck.",
        "short",
        {"{{stage}}": rate("stage_seconds_sum", "stage")},
        "stacked",
        alerts=["QrerankWaiting"],
    ),
]
