"""PromQL for the dashboard. Tests run every query's names and labels against the metrics of a real service."""

from __future__ import annotations

RATE = "$__rate_interval"  # Grafana's variable: long enough for a rate at the panel's resolution
CHOSEN = 'job=~"$job", instance=~"$instance"'  # as selected on the dashboard
WORK = 'route!~"/(health|metrics|docs)(/.*)?"'  # without the requests of monitoring and of documentation readers
ROUTE = 'route=~"$route"'


def rate(counter: str, by: str = "", where: str = "") -> str:
    """The rate of a counter per second.

    Args:
        counter: Its name without the prefix; for a histogram with `_count`, `_sum` or `_bucket`.
        by: Labels to group by, in PromQL's syntax.
        where: More matchers, in PromQL's syntax.
    """
    return _aggregated("sum", by, f"rate({_series(counter, where)}[{RATE}])")


def quantile(part: float, histogram: str, by: str = "", where: str = "") -> str:
    """A quantile of a histogram. part: 0 to 1."""
    buckets = rate(f"{histogram}_bucket", f"le, {by}" if by else "le", where)
    return f"histogram_quantile({part:g}, {buckets})"


def increase(histogram: str, where: str = "") -> str:
    """The increase of each bucket of a histogram."""
    return _aggregated("sum", "le", f"increase({_series(f'{histogram}_bucket', where)}[{RATE}])")


def gauge(operator: str, name: str, by: str = "") -> str:
    """A gauge, aggregated by sum, max or min."""
    return _aggregated(operator, by, _series(name))


def share(part: str, whole: str) -> str:
    """The ratio of two rates; 0 if the first has no series, and no series if the second has none."""
    return f"({part} or {whole} * 0) / {whole}"


def _aggregated(operator: str, by: str, inner: str) -> str:
    return f"{operator} by ({by}) ({inner})" if by else f"{operator}({inner})"


def _series(name: str, where: str = "") -> str:
    return f"qrerank_{name}{{{', '.join(filter(None, (CHOSEN, where)))}}}"
