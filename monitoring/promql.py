"""PromQL for the dashboard, checked against the catalogue of metrics: unknown names and labels raise an error."""

from __future__ import annotations

import re

from app.telemetry.catalogue import FAMILIES

RATE = "$__rate_interval"  # Grafana's variable: long enough for a rate at the panel's resolution
CHOSEN = 'job=~"$job", instance=~"$instance"'  # as selected on the dashboard
WORK = 'route!~"/(health|metrics|docs)(/.*)?"'  # without the requests of monitoring and of documentation readers
ROUTE = 'route=~"$route"'

_TARGET = {"job", "instance", "le"}  # labels that Prometheus adds to all series and to buckets
_FAMILIES = {family.short: family for family in FAMILIES}


class Unsound(Exception):
    """A query with an unknown name, or with a function that does not fit the metric's type."""


def rate(counter: str, by: str = "", where: str = "") -> str:
    """The rate of a counter per second.

    Args:
        counter: Its name without the prefix; for a histogram with `_count`, `_sum` or `_bucket`.
        by: Labels to group by, in PromQL's syntax.
        where: More matchers, in PromQL's syntax.

    Raises:
        Unsound: The counter does not exist, or it lacks one of the labels.
    """
    return _aggregated("sum", by, f"rate({_series(counter, 'counter', by, where)}[{RATE}])")


def quantile(part: float, histogram: str, by: str = "", where: str = "") -> str:
    """A quantile of a histogram. part: 0 to 1."""
    buckets = rate(f"{histogram}_bucket", f"le, {by}" if by else "le", where)
    return f"histogram_quantile({part:g}, {buckets})"


def increase(histogram: str, where: str = "") -> str:
    """The increase of each bucket of a histogram."""
    return _aggregated("sum", "le", f"increase({_series(f'{histogram}_bucket', 'counter', 'le', where)}[{RATE}])")


def gauge(operator: str, name: str, by: str = "") -> str:
    """A gauge, aggregated by sum, max or min."""
    return _aggregated(operator, by, _series(name, "gauge", by, ""))


def share(part: str, whole: str) -> str:
    """The ratio of two rates; 0 if the first has no series, and no series if the second has none."""
    return f"({part} or {whole} * 0) / {whole}"


def _aggregated(operator: str, by: str, inner: str) -> str:
    return f"{operator} by ({by}) ({inner})" if by else f"{operator}({inner})"


def _series(name: str, kind: str, by: str, where: str) -> str:
    short = re.sub("_(count|sum|bucket)$", "", name)
    family = _FAMILIES.get(name) or _FAMILIES.get(short)
    if family is None or (family.type == "histogram") != (name != family.short):
        raise Unsound(f"there is no metric {name}; there are {', '.join(_FAMILIES)}")
    if kind != ("gauge" if family.type == "gauge" else "counter"):
        raise Unsound(f"{name} is not a {kind}")
    used = {*re.findall(r"\w+", by), *re.findall(r'(\w+)(?:=|!=|=~|!~)"', where)}
    if unknown := used - _TARGET - set(family.labels):
        raise Unsound(f"{name} has no label {', '.join(unknown)}; it has {', '.join(family.labels) or 'none'}")
    return f"qrerank_{name}{{{', '.join(filter(None, (CHOSEN, where)))}}}"
