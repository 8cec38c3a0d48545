"""What is done for requests, and what need not be done because it is remembered."""

from monitoring.panels import Curve, Panel, Row
from monitoring.promql import share
from monitoring.registry import metrics
from monitoring.rows.seen import HERE, ROUTE

WORK = Row(
    "Work",
    [
        Panel(
            "Documents ranked",
            "cached cost next to nothing, encoded are what the cores work on, unread were left out for want of time.",
            "cps",
            [Curve(HERE.rate(metrics.documents_total, "read"), "{{read}}")],
            "stacked",
        ),
        Panel(
            "Answers cut by the deadline",
            "They rank what was left unread by words alone. Many of them: more new texts than the cores can read.",
            "percentunit",
            [
                Curve(
                    share(
                        HERE.rate(metrics.requests_cut_total, route=ROUTE),
                        HERE.rate(metrics.request_documents.count, route=ROUTE),
                    ),
                    "cut",
                )
            ],
        ),
        Panel(
            "Forward passes by texts in one",
            "Under load passes should carry several texts; many of one text are similarities and queries.",
            "cps",
            [Curve(HERE.rate(metrics.encoder_passes_total, "texts"), "{{texts}} texts")],
            "stacked",
        ),
        Panel(
            "Tokens read",
            "What the machine is for. A plateau here with rising latency is its capacity.",
            "cps",
            [Curve(HERE.rate(metrics.encoded_tokens_total, "model"), "{{model}}")],
        ),
        Panel(
            "Documents of a request",
            "How large requests are; larger ones move the p95 without any fault.",
            "short",
            [Curve(HERE.grown(metrics.request_documents.buckets, route=ROUTE), "{{le}}")],
            "heatmap",
        ),
        Panel(
            "Work of a request",
            "units: a query compared with up to 1000 characters is one, as quotas count; tokens: those that were read.",
            "short",
            [
                Curve(HERE.quantile(part, of, route=ROUTE), f"{name} p{100 * part:g}")
                for name, of in (("units", metrics.request_units), ("tokens", metrics.request_tokens))
                for part in (0.5, 0.95)
            ],
        ),
    ],
)

_HITS, _MISSES = HERE.rate(metrics.cache_hits_total), HERE.rate(metrics.cache_misses_total)
_SHARED_HITS = HERE.rate(metrics.replica_cache_hits_total, "model")
_SHARED_MISSES = HERE.rate(metrics.replica_cache_misses_total, "model")

CACHE = Row(
    "Cache",
    [
        Panel(
            "Hit ratio",
            "The part of the texts that were remembered. It falls after a restart, when texts are new, and when the "
            "cache is too small for what is asked: then evictions rise.",
            "percentunit",
            [Curve(_HITS / (_HITS + _MISSES), "this process")],
            alerts=["QrerankCacheCollapse"],
        ),
        Panel(
            "Evictions",
            "Texts forgotten to make room. As many as misses: the cache is full, and too small.",
            "cps",
            [Curve(HERE.rate(metrics.cache_evictions_total), "evicted"), Curve(_MISSES, "missed")],
            alerts=["QrerankCacheCollapse"],
        ),
        Panel(
            "Bytes",
            "Against QRERANK_CACHE__MAX_BYTES, which each worker has for itself.",
            "bytes",
            [Curve(HERE.total(metrics.cache_bytes, "instance"), "{{instance}}")],
        ),
        Panel(
            "Hit ratio of Redis",
            "Of the texts that a process did not remember itself: what replicas save each other.",
            "percentunit",
            [Curve(_SHARED_HITS / (_SHARED_HITS + _SHARED_MISSES), "{{model}}", idle=True)],
        ),
        Panel(
            "Failures of Redis",
            "dropped: states that were to be written and were not, since it was lost, full or slow. corrupt: records "
            "that no replica of ours wrote.",
            "cps",
            [
                Curve(HERE.rate(metrics.replica_cache_errors_total), "errors", idle=True),
                Curve(HERE.rate(metrics.replica_cache_dropped_total), "dropped", idle=True),
                Curve(HERE.rate(metrics.replica_cache_corrupt_total), "corrupt", idle=True),
            ],
            alerts=["QrerankCacheRedisLost"],
        ),
        Panel(
            "Texts remembered",
            "Bytes for each text tell how long texts are.",
            "short",
            [Curve(HERE.total(metrics.cache_entries, "instance"), "{{instance}}")],
        ),
    ],
)
