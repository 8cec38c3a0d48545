"""How full the processes are, what they lean on, and what they take."""

from app.health.targets import MEMORY_BYTES
from monitoring.limits import LAG_S, WAITING
from monitoring.panels import Curve, Panel, Row
from monitoring.registry import metrics
from monitoring.rows.seen import HERE

SATURATION = Row(
    "Saturation",
    [
        Panel(
            "Running and waiting",
            "Waiting should be short peaks; the line is for each worker. Requests wait once QRERANK_ENGINE__REQUESTS "
            "threads of a worker are busy.",
            "short",
            [
                Curve(HERE.total(metrics.requests_running), "running"),
                Curve(HERE.total(metrics.requests_waiting), "waiting"),
            ],
            limit=WAITING,
            alerts=["QrerankWaiting"],
        ),
        Panel(
            "Rejections by reason",
            "overloaded: more work than the cores do in time; too-late: a deadline passed. Most others are callers'.",
            "reqps",
            [Curve(HERE.rate(metrics.rejections_total, "reason"), "{{reason}}")],
            "stacked",
            alerts=["QrerankOverloaded", "QrerankQuotaExhausted"],
        ),
        Panel(
            "Event loop lag",
            "How late the loop turns to what is due; it delays every answer. Long means something blocks it.",
            "s",
            [
                Curve(HERE.quantile(part, metrics.event_loop_lag_seconds), f"p{100 * part:g}")
                for part in (0.5, 0.95, 0.99)
            ],
            limit=LAG_S,
            alerts=["QrerankLoopLag"],
        ),
        Panel(
            "Texts that wait for the encoder",
            "What is not read in time is left unread: a queue that stays is work nobody gets.",
            "short",
            [Curve(HERE.total(metrics.encoder_pending_texts, "model"), "{{model}}")],
        ),
        Panel(
            "Learned cost of a token",
            "As the slowest worker learned it. A rise without load: the machine is slower, or shared.",
            "s",
            [Curve(HERE.highest(metrics.encoder_token_seconds, "model"), "{{model}}")],
        ),
        Panel(
            "Refused for quotas",
            "By which quota. Steady refusals are a caller without back-off, or a tier that is too small.",
            "reqps",
            [Curve(HERE.rate(metrics.quota_refusals_total, "quota"), "{{quota}}")],
            "stacked",
            alerts=["QrerankQuotaExhausted"],
        ),
    ],
)

DEPENDENCIES = Row(
    "Dependencies and collections",
    [
        Panel(
            "Breakers open",
            "1 while a dependency is lost. keys: nobody new is let in; issuer: tokens; the two of Redis cost speed and "
            "exactness only. Only what is configured is here.",
            "short",
            [
                Curve(
                    HERE.highest(metrics.breaker_open, "dependency", "instance"),
                    "{{dependency}} {{instance}}",
                    idle=True,
                )
            ],
            limit=1,
            alerts=["QrerankKeysLost", "QrerankIssuerLost", "QrerankCacheRedisLost", "QrerankQuotaRedisLost"],
        ),
        Panel(
            "Quotas without Redis",
            "alone: requests counted by each process for itself; callers then have their quota once for each. reset: "
            "counters that somebody else wrote something into.",
            "reqps",
            [
                Curve(HERE.rate(metrics.quota_alone_total), "alone", idle=True),
                Curve(HERE.rate(metrics.quota_redis_errors_total), "errors", idle=True),
                Curve(HERE.rate(metrics.quota_counters_reset_total), "reset", idle=True),
            ],
            alerts=["QrerankQuotaRedisLost"],
        ),
        Panel(
            "Usage that is not written",
            "waiting: rows, one a day and caller, written every second; ever more where the database takes no writes. "
            "dropped: requests a second that will be missing.",
            "short",
            [
                Curve(HERE.total(metrics.usage_waiting_rows, "instance"), "waiting {{instance}}"),
                Curve(HERE.rate(metrics.usage_dropped_total), "dropped"),
            ],
            alerts=["QrerankKeysLost"],
        ),
        Panel(
            "Collections' certificates",
            "1: its last self-check held; 0: it failed, and the collection is not searched.",
            "short",
            [
                Curve(
                    HERE.lowest(metrics.index_certified, "collection", "instance"),
                    "{{collection}} {{instance}}",
                    idle=True,
                )
            ],
            least=1,
            alerts=["QrerankIndexUncertified"],
        ),
        Panel(
            "Passages",
            "How many a collection holds. Processes that differ have different files.",
            "short",
            [Curve(HERE.highest(metrics.index_passages, "collection"), "{{collection}}", idle=True)],
        ),
        Panel(
            "Bytes of the files",
            "Read as they are searched; only the index is in the processes' memory.",
            "bytes",
            [Curve(HERE.highest(metrics.index_bytes, "collection"), "{{collection}}", idle=True)],
        ),
    ],
)

PROCESS = Row(
    "Processes",
    [
        Panel(
            "Memory of a worker",
            "It rises while caches fill, to QRERANK_CACHE__MAX_BYTES and what models take; then it should be flat.",
            "decbytes",
            [
                Curve(
                    HERE.total(metrics.process_memory_bytes, "instance") / HERE.total(metrics.workers, "instance"),
                    "{{instance}}",
                )
            ],
            limit=MEMORY_BYTES,
            alerts=["QrerankMemory"],
        ),
        Panel(
            "Workers and those ready",
            "They differ while workers load or drain; for long only if one failed.",
            "short",
            [
                Curve(HERE.total(metrics.workers, "instance"), "workers {{instance}}"),
                Curve(HERE.total(metrics.ready, "instance"), "ready {{instance}}"),
            ],
            alerts=["QrerankNotReady", "QrerankDown"],
        ),
        Panel(
            "Versions",
            "One, but for the minutes of an upgrade. A new model brings new states: the cache begins anew.",
            "short",
            [Curve(HERE.total(metrics.build_info, "version", "model"), "{{version}} with {{model}}")],
            "stacked",
        ),
    ],
)
