"""PromQL that can only name metrics and labels that exist, and only asks of a metric what its kind can tell."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Kind = Literal["counter", "gauge", "histogram", "buckets"]

TARGET = frozenset({"job", "instance"})  # labels that Prometheus gives to everything it scrapes
RATE = "$__rate_interval"  # Grafana's: long enough for a rate at the panel's resolution


class Unsound(Exception):
    """A query that names what does not exist, or means nothing."""


@dataclass(frozen=True)
class Metric:
    """A metric, by the name that Prometheus has for it."""

    name: str
    kind: Kind
    labels: frozenset[str] = frozenset()

    @property
    def count(self) -> Metric:
        """How many values a histogram has seen."""
        return self._part("_count", "counter")

    @property
    def sum(self) -> Metric:
        """What the values that a histogram has seen come to."""
        return self._part("_sum", "counter")

    @property
    def buckets(self) -> Metric:
        """How many values of a histogram were at most so large."""
        return replace(self._part("_bucket", "buckets"), labels=self.labels | {"le"})

    def _part(self, suffix: str, kind: Kind) -> Metric:
        _insist(self.kind == "histogram", f"{self.name} is no histogram, it has no {suffix}")
        return replace(self, name=self.name + suffix, kind=kind)


UP = Metric("up", "gauge")  # Prometheus' own: 1 if it could read a target


@dataclass(frozen=True)
class Matches:
    """Values of a label that match a regular expression as a whole, or do not."""

    expression: str
    negated: bool = False


def one_of(values: Collection[str]) -> Matches:
    """Any of these values."""
    return Matches("|".join(re.sub(r"([.+*?()|\[\]{}^$\\])", r"\\\1", value) for value in values))


Where = Mapping[str, str | Matches]


@dataclass(frozen=True)
class Query:
    """An expression, and which labels its series have."""

    text: str
    labels: frozenset[str] = frozenset()
    atom: bool = True  # whether it needs no parentheses beside an operator

    def __str__(self) -> str:
        """As Prometheus reads it."""
        return self.text

    def __truediv__(self, other: Query | float) -> Query:
        """Both series by series."""
        return self._with("/", other)

    def __mul__(self, other: Query | float) -> Query:
        """Both series by series."""
        return self._with("*", other)

    def __add__(self, other: Query | float) -> Query:
        """Both series by series."""
        return self._with("+", other)

    def __sub__(self, other: Query | float) -> Query:
        """Both series by series."""
        return self._with("-", other)

    def __gt__(self, other: Query | float) -> Query:
        """The series that are above."""
        return self._with(">", other)

    def __lt__(self, other: Query | float) -> Query:
        """The series that are below."""
        return self._with("<", other)

    def equals(self, value: float) -> Query:
        """The series that are this."""
        return self._with("==", value)

    def both(self, other: Query) -> Query:
        """The series that are in both."""
        return self._with("and", other)

    def either(self, other: Query) -> Query:
        """These series, and of the other those that are not among these."""
        return replace(self._with("or", other), labels=self.labels | other.labels)

    def told(self, label: str, value: str) -> Query:
        """The same series with one label more."""
        return Query(f'label_replace({self}, "{label}", "{value}", "", "")', self.labels | {label})

    def _with(self, operator: str, other: Query | float) -> Query:
        if isinstance(other, Query):
            _insist(
                self.labels == other.labels or operator == "or",
                f"{self} {operator} {other} is always empty: one has {set(self.labels)}, the other {set(other.labels)}",
            )
            return Query(f"{self._operand} {operator} {other._operand}", self.labels, atom=False)
        return Query(f"{self._operand} {operator} {other:.12g}", self.labels, atom=False)

    @property
    def _operand(self) -> str:
        return self.text if self.atom else f"({self.text})"


@dataclass(frozen=True)
class View:
    """Asks for some series of any metric, over some time, by some labels."""

    over: str  # how far back a rate looks
    by: tuple[str, ...] = ()  # labels that every result is told apart by
    where: Where = field(default_factory=dict)  # for every metric

    def rate(self, counter: Metric, *by: str, **where: str | Matches) -> Query:
        """How fast a counter grows, per second, summed over all series but those of these labels."""
        _insist(counter.kind == "counter", f"{counter.name} is no counter, it has no rate")
        return self._aggregate("sum", counter, by, f"rate({self._select(counter, where)}[{self.over}])")

    def grown(self, buckets: Metric, *by: str, **where: str | Matches) -> Query:
        """How many values came into each bucket."""
        _insist(buckets.kind == "buckets", f"{buckets.name} has no buckets")
        return self._aggregate("sum", buckets, ("le", *by), f"increase({self._select(buckets, where)}[{self.over}])")

    def quantile(self, part: float, histogram: Metric, *by: str, **where: str | Matches) -> Query:
        """What this part of the values was not above."""
        rates = f"rate({self._select(histogram.buckets, where)}[{self.over}])"
        summed = self._aggregate("sum", histogram.buckets, ("le", *by), rates)
        return Query(f"histogram_quantile({part:g}, {summed})", summed.labels - {"le"})

    def mean(self, histogram: Metric, *by: str, **where: str | Matches) -> Query:
        """The mean of the values."""
        return self.rate(histogram.sum, *by, **where) / self.rate(histogram.count, *by, **where)

    def total(self, gauge: Metric, *by: str, **where: str | Matches) -> Query:
        """A gauge, summed over all series but those of these labels."""
        return self._gauge("sum", gauge, by, where)

    def highest(self, gauge: Metric, *by: str, **where: str | Matches) -> Query:
        """The highest of a gauge."""
        return self._gauge("max", gauge, by, where)

    def lowest(self, gauge: Metric, *by: str, **where: str | Matches) -> Query:
        """The lowest of a gauge."""
        return self._gauge("min", gauge, by, where)

    def usual(self, gauge: Metric, *by: str, **where: str | Matches) -> Query:
        """What a gauge was on average all the time, summed like `total`."""
        _insist(gauge.kind == "gauge", f"{gauge.name} is no gauge")
        return self._aggregate("sum", gauge, by, f"avg_over_time({self._select(gauge, where)}[{self.over}])")

    def absent(self, gauge: Metric, **where: str) -> Query:
        """1 if there is no such series; it has the labels that were asked for."""
        return Query(f"absent({self._select(gauge, where)})", frozenset(where))

    def _gauge(self, operator: str, gauge: Metric, by: tuple[str, ...], where: Where) -> Query:
        _insist(gauge.kind == "gauge", f"{gauge.name} is no gauge; ask for its rate")
        return self._aggregate(operator, gauge, by, self._select(gauge, where))

    def _aggregate(self, operator: str, metric: Metric, by: tuple[str, ...], inner: str) -> Query:
        labels = tuple(dict.fromkeys((*self.by, *by)))
        _known(metric, labels)
        of = f" by ({', '.join(labels)}) " if labels else ""
        return Query(f"{operator}{of}({inner})", frozenset(labels))

    def _select(self, metric: Metric, where: Where) -> str:
        matchers = {**self.where, **where}
        _known(metric, matchers)
        inside = ", ".join(_matcher(label, value) for label, value in matchers.items())
        return f"{metric.name}{{{inside}}}" if inside else metric.name


def share(part: Query, whole: Query) -> Query:
    """What part of the whole this is; 0 where the part was never seen, and nothing where there is nothing."""
    return part.either(whole * 0.0) / whole


def _matcher(label: str, value: str | Matches) -> str:
    if isinstance(value, str):
        return f"{label}={json.dumps(value)}"
    return f"{label}{'!~' if value.negated else '=~'}{json.dumps(value.expression)}"


def _known(metric: Metric, labels: Collection[str]) -> None:
    unknown = ", ".join(sorted(set(labels) - metric.labels - TARGET))
    _insist(not unknown, f"{metric.name} has no label {unknown}; it has {', '.join(sorted(metric.labels)) or 'none'}")


def _insist(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Unsound(otherwise)
