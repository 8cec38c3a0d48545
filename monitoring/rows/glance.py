"""Is all well?"""

from app.health.targets import MEMORY_BYTES, RERANK_MS
from monitoring.limits import BAD_SHARE
from monitoring.panels import Curve, Panel, Row
from monitoring.registry import WORK, metrics
from monitoring.rows.seen import BAD, HERE, reranking

GLANCE = Row(
    "At a glance",
    [
        Panel(
            "Requests",
            "How much is asked. Nothing at all, when people are awake, means that nobody gets here: look at the way.",
            "reqps",
            [Curve(HERE.rate(metrics.requests_total, route=WORK), "requests")],
            "number",
            width=4,
            height=4,
        ),
        Panel(
            "p95 of reranking",
            "Of answers for up to 100 documents; promised are 500 ms.",
            "s",
            [Curve(reranking(0.95), "p95")],
            "number",
            limit=RERANK_MS / 1000,
            alerts=["QrerankSlow"],
            width=4,
            height=4,
        ),
        Panel(
            "Answered 5xx",
            "The part of all requests: overload, lateness, lost keys, faults. Promised is less than 1 %.",
            "percentunit",
            [Curve(BAD, "5xx")],
            "number",
            limit=BAD_SHARE,
            alerts=["QrerankAvailability"],
            width=4,
            height=4,
        ),
        Panel(
            "Ready",
            "The part of the workers that can serve. Below 1 some load, drain or failed.",
            "percentunit",
            [Curve(HERE.total(metrics.ready) / HERE.total(metrics.workers), "ready")],
            "number",
            least=1.0,
            alerts=["QrerankNotReady", "QrerankDown"],
            width=4,
            height=4,
        ),
        Panel(
            "Memory of a worker",
            "On average over all workers; promised are at most 2 GB.",
            "decbytes",
            [Curve(HERE.total(metrics.process_memory_bytes) / HERE.total(metrics.workers), "resident")],
            "number",
            limit=MEMORY_BYTES,
            alerts=["QrerankMemory"],
            width=4,
            height=4,
        ),
        Panel(
            "Breakers open",
            "What the service leans on and has lost; nothing should be.",
            "short",
            [Curve(HERE.total(metrics.breaker_open), "open", idle=True)],
            "number",
            limit=1,
            alerts=["QrerankKeysLost", "QrerankIssuerLost", "QrerankCacheRedisLost", "QrerankQuotaRedisLost"],
            width=4,
            height=4,
        ),
    ],
)
