"""What is asked, how fast it is answered, and where the time goes."""

from app.health.targets import RERANK_MS, SIMILARITY_MS
from monitoring.limits import BAD_SHARE
from monitoring.panels import Curve, Panel, Row
from monitoring.promql import one_of
from monitoring.registry import SIMILARITY, metrics
from monitoring.rows.seen import BAD, HERE, ROUTE, reranking

_PARTS = (0.5, 0.95, 0.99)


def _by(label: str, title: str, look: str) -> Panel:
    curve = Curve(HERE.rate(metrics.requests_total, label, route=ROUTE), f"{{{{{label}}}}}")
    return Panel(title, look, "reqps", [curve], "stacked")


TRAFFIC = Row(
    "Traffic",
    [
        _by("route", "Requests by route", "Which work there is. Routes differ a hundredfold in cost."),
        _by("status", "Requests by status", "4xx are the callers', 5xx ours; 429 is a quota, 503 mostly overload."),
        Panel(
            "Answered 5xx",
            "Above the line the error budget burns. Which kind it is, the rejections by reason say.",
            "percentunit",
            [Curve(BAD, "5xx")],
            limit=BAD_SHARE,
            alerts=["QrerankAvailability", "QrerankErrors"],
        ),
        _by("dialect", "Requests by dialect", "Whose client it is: a client that was updated may change it."),
        _by("tier", "Requests by tier", "Whose traffic grows. none: nobody was let in, or nobody was asked for a key."),
        _by("method", "Requests by ranking method", "none: requests that rank nothing, or were refused."),
    ],
)

LATENCY = Row(
    "Latency",
    [
        Panel(
            "Reranking up to 100 documents",
            "Of answers only. A p95 near the default deadline (400 ms) is normal where texts are new; above the line "
            "something but the encoder takes the time: look at the stages.",
            "s",
            [Curve(reranking(part), f"p{100 * part:g}") for part in _PARTS],
            limit=RERANK_MS / 1000,
            alerts=["QrerankSlow"],
        ),
        Panel(
            "Similarity of a pair",
            "It has no deadline and reads both texts, so it follows the load of the encoder.",
            "s",
            [
                Curve(
                    HERE.quantile(part, metrics.request_seconds, route=one_of(SIMILARITY), outcome="ok"),
                    f"p{100 * part:g}",
                )
                for part in _PARTS
            ],
            limit=SIMILARITY_MS / 1000,
            alerts=["QrerankSimilaritySlow"],
        ),
        Panel(
            "How long answers took",
            "Two bands are known and new texts. A band that moves up is load; one at the deadline is cut answers.",
            "s",
            [Curve(HERE.grown(metrics.request_seconds.buckets, route=ROUTE, outcome="ok"), "{{le}}")],
            "heatmap",
        ),
        Panel(
            "p95 by number of documents",
            "More documents take longer until the deadline cuts; the smallest should be the fastest.",
            "s",
            [
                Curve(
                    HERE.quantile(0.95, metrics.request_seconds, "documents", route=ROUTE, outcome="ok"),
                    "{{documents}} documents",
                )
            ],
        ),
        Panel(
            "p95 by route",
            "Which work is slow; the mix of routes moves the p95 of all together.",
            "s",
            [
                Curve(
                    HERE.quantile(0.95, metrics.request_seconds, "route", route=ROUTE, outcome="ok"),
                    "{{route}}",
                )
            ],
        ),
        Panel(
            "Requests by outcome",
            "refused: foreseen, the answer says what to do; gone: the client left; failed: a fault, which the log has.",
            "reqps",
            [Curve(HERE.rate(metrics.request_seconds.count, "outcome", route=ROUTE), "{{outcome}}")],
            "stacked",
            alerts=["QrerankErrors"],
        ),
    ],
)

STAGES = Row(
    "Stages",
    [
        Panel(
            "Where a request's time goes",
            "Mean of each stage, stacked, of requests that went through it. queue and wait grow with load, encode with "
            "new texts; the rest should not change.",
            "s",
            [Curve(HERE.mean(metrics.stage_seconds, "stage"), "{{stage}}")],
            "stacked",
            alerts=["QrerankSlow"],
        ),
        Panel(
            "p95 of each stage",
            "A stage whose p95 leaves its mean behind is one that waits for something.",
            "s",
            [Curve(HERE.quantile(0.95, metrics.stage_seconds, "stage"), "{{stage}}")],
        ),
        Panel(
            "Requests in each stage",
            "Seconds spent in a stage per second: how many requests are in it at once. Where they pile up is the "
            "bottleneck.",
            "short",
            [Curve(HERE.rate(metrics.stage_seconds.sum, "stage"), "{{stage}}")],
            "stacked",
            alerts=["QrerankWaiting"],
        ),
    ],
)
