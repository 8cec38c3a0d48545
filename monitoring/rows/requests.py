"""The dashboard's rows about health at a glance, traffic, latency and stages."""

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
        "Request rate. Zero during working hours means that requests do not arrive: check the network path.",
        "reqps",
        {"requests": rate("requests_total", where=WORK)},
        "number",
    ),
    Panel(
        "p95 of reranking",
        "Of requests with up to 100 documents. Target: 500 ms.",
        "s",
        {"p95": quantile(0.95, "request_seconds", where=_UP_TO_100)},
        "number",
        limit=RERANK_MS / 1000,
        alerts=["QrerankSlow"],
    ),
    Panel(
        "Answered 5xx",
        "Share of all requests: overload, deadlines, lost keys, faults. Target: less than 1 %.",
        "percentunit",
        _BAD,
        "number",
        limit=_BAD_SHARE,
        alerts=["QrerankAvailability"],
    ),
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
        idle=True,
    ),
]


def _by(label: str, title: str, look: str) -> Panel:
    return Panel(title, look, "reqps", {f"{{{{{label}}}}}": rate("requests_total", label, ROUTE)}, "stacked")


TRAFFIC = [
    _by("route", "Requests by route", "The cost of routes differs by a factor of 100."),
    _by("status", "Requests by status", "4xx: client errors; 5xx: server errors; 429: a quota; 503: mostly overload."),
    Panel(
        "Answered 5xx",
        "Above the line the error budget burns. See the rejections by reason.",
        "percentunit",
        _BAD,
        limit=_BAD_SHARE,
        alerts=["QrerankAvailability", "QrerankErrors"],
    ),
    _by("dialect", "Requests by dialect", "The client's API dialect; a client update may change it."),
    _by("tier", "Requests by tier", "Traffic by tier. none: not authenticated, or authentication is off."),
    _by("method", "Requests by ranking method", "none: requests that rank nothing, or were rejected."),
]

LATENCY = [
    Panel(
        "Reranking up to 100 documents",
        "A p95 near the default deadline (400 ms) is normal for new texts; above the line, look at the stages.",
        "s",
        {f"p{100 * part:g}": quantile(part, "request_seconds", where=_UP_TO_100) for part in _PARTS},
        limit=RERANK_MS / 1000,
        alerts=["QrerankSlow"],
    ),
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
]

STAGES = [
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
]
