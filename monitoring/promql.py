"""The dashboard's PromQL, from the service's own list of metrics: a name or label that does not exist is refused."""

from __future__ import annotations

import re

from app.telemetry.catalogue import FAMILIES

RATE = "$__rate_interval"  # Grafana's: long enough for a rate at the panel's resolution
CHOSEN = 'job=~"$job", instance=~"$instance"'  # on the dashboard
WORK = 'route!~"/(health|metrics|docs)(/.*)?"'  # without what monitoring itself requests, and readers
ROUTE = 'route=~"$route"'

_TARGET = {"job", "instance", "le"}  # labels that Prometheus gives to everything it scrapes, and to buckets
_FAMILIES = {family.short: family for family in FAMILIES}


class Unsound(Exception):
    """A query that names what does not exist, or asks of a metric what its kind cannot tell."""


def rate(counter: str, by: str = "", where: str = "") -> str:
    """How fast a counter grows, per second.

    Args:
        counter: name without the prefix; of a histogram with `_count`, `_sum` or `_bucket`.
        by: labels that are kept apart, as PromQL lists them.
        where: further matchers, as PromQL lists them.

    Raises:
        Unsound: there is no such counter, or it has not one of the labels.
    """
    return _aggregated("sum", by, f"rate({_series(counter, 'counter', by, where)}[{RATE}])")


def quantile(part: float, histogram: str, by: str = "", where: str = "") -> str:
    """The value that this part of a histogram's values is not above."""
    buckets = rate(f"{histogram}_bucket", f"le, {by}" if by else "le", where)
    return f"histogram_quantile({part:g}, {buckets})"


def increase(histogram: str, where: str = "") -> str:
    """How many values came into each bucket of a histogram."""
    return _aggregated("sum", "le", f"increase({_series(f'{histogram}_bucket', 'counter', 'le', where)}[{RATE}])")


def gauge(operator: str, name: str, by: str = "") -> str:
    """A gauge's sum, max or min."""
    return _aggregated(operator, by, _series(name, "gauge", by, ""))


def share(part: str, whole: str) -> str:
    """What part of the whole this is; 0 where the part was never seen, and nothing where there is nothing."""
    return f"({part} or {whole} * 0) / {whole}"


def _aggregated(operator: str, by: str, inner: str) -> str:
    return f"{operator} by ({by}) ({inner})" if by else f"{operator}({inner})"


def _series(name: str, kind: str, by: str, where: str) -> str:
    short = re.sub("_(count|sum|bucket)$", "", name)
    family = _FAMILIES.get(name) or _FAMILIES.get(short)
    if family is None or (family.type == "histogram") != (name != family.short):
        raise Unsound(f"there is no metric {name}; there are {', '.join(_FAMILIES)}")
    if kind != ("gauge" if family.type == "gauge" else "counter"):
        raise Unsound(f"{name} is no {kind}")
    used = {*re.findall(r"\w+", by), *re.findall(r'(\w+)(?:=|!=|=~|!~)"', where)}
    if unknown := used - _TARGET - set(family.labels):
        raise Unsound(f"{name} has no label {', '.join(unknown)}; it has {', '.join(family.labels) or 'none'}")
    return f"qrerank_{name}{{{', '.join(filter(None, (CHOSEN, where)))}}}"
