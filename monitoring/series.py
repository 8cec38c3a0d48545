"""What Prometheus might have read, for the tests of the rules."""

from __future__ import annotations

from collections.abc import Mapping

from monitoring.promql import TARGET, Metric, Unsound
from monitoring.registry import JOB

Series = Mapping[str, str]  # name with labels to values, both in promtool's notation

INSTANCE = "10.0.0.1:8000"
_USUAL = {
    "instance": INSTANCE,
    "route": "/v1/rerank",
    "http_method": "POST",
    "dialect": "standard",
    "method": "hybrid",
    "tier": "standard",
    "status": "200",
    "documents": "51-100",
    "outcome": "ok",
    "collection": "manual",
}


def series(metric: Metric, values: str, **labels: str) -> Series:
    """One series; labels that are not given have a usual value. Unsound for labels that the metric has not."""
    unknown = set(labels) - metric.labels - TARGET
    if unknown:
        raise Unsound(f"{metric.name} has no label {', '.join(sorted(unknown))}")
    told = {name: _USUAL[name] for name in sorted({"instance", *metric.labels}) if name not in labels and name != "job"}
    inside = ", ".join(f'{name}="{value}"' for name, value in ({"job": JOB} | told | labels).items())
    return {f"{metric.name}{{{inside}}}": values}


def growing(per_minute: float) -> str:
    """A counter that grows like this for as long as a test may look."""
    return f"0+{per_minute:g}x600"


def steady(value: float) -> str:
    """A gauge that stays."""
    return f"{value:g}+0x600"


def spread(histogram: Metric, per_minute: Mapping[str, float], **labels: str) -> Series:
    """A histogram's buckets: how many values a minute come into each, by its upper bound, from the smallest."""
    found: dict[str, str] = {}
    below = 0.0
    for bound, count in (dict(per_minute) | {"+Inf": 0.0}).items():
        below += count
        found |= series(histogram.buckets, growing(below), le=bound, **labels)
    return found
