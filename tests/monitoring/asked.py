"""Names in queries, from a real PromQL parser, and the series of a service's metrics."""

import re
from dataclasses import dataclass

import promql_parser as promql
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

SECRET = "a-secret-for-tokens-of-at-least-thirty-two-bytes"  # noqa: S105 - for tests only
# A service with quotas, an unreachable Redis, Milvus and token issuer, and capacity for one large request.
SETTINGS = {
    "model": "hash",
    "auth": {"enabled": True, "jwt": {"secret": SECRET, "jwks_url": "http://127.0.0.1:9/jwks.json"}},
    "index": {"url": "milvus://127.0.0.1:9"},
    "cache": {"redis_url": "redis://127.0.0.1:9"},
    "quotas": {"public": {"requests_per_minute": 2}},
    "engine": {"requests": 1, "queue_requests": 0, "drain_seconds": 0},
}
TARGET = {"job": "quantum-rerank", "instance": "10.0.0.1:8000"}  # labels that Prometheus adds


@dataclass(frozen=True)
class Selector:
    name: str
    matchers: tuple[tuple[str, str, str], ...]  # label, operator, value

    def takes(self, sample: Sample) -> bool:
        return sample.name == self.name and all(
            holds(operator, sample.labels.get(label, ""), value) for label, operator, value in self.matchers
        )


def holds(operator: str, found: str, wanted: str) -> bool:
    same = bool(re.fullmatch(wanted, found)) if "Re" in operator else found == wanted
    return same != operator.startswith("Not")


def samples(text: str) -> list[Sample]:
    families = text_string_to_metric_families(text)
    return [one._replace(labels=one.labels | TARGET) for family in families for one in family.samples]


def _nodes(query: str, kind: type) -> list:
    """The nodes of a kind in a query; ValueError if it is not PromQL."""
    found = []
    promql.walk(promql.parse(query), lambda node: found.append(node) if isinstance(node, kind) else None)
    return found


def selectors(query: str) -> list[Selector]:
    def matchers(node) -> tuple[tuple[str, str, str], ...]:
        return tuple((m.name, str(m.op).removeprefix("MatchOp."), m.value) for m in node.matchers.matchers)

    return [Selector(node.name, matchers(node)) for node in _nodes(query, promql.VectorSelector)]


def grouped(query: str) -> list[tuple[set[str], list[Selector]]]:
    """The labels and selectors of each aggregation."""
    return [
        (set(node.modifier.labels) if node.modifier else set(), selectors(node.expr.prettify()))
        for node in _nodes(query, promql.AggregateExpr)
    ]
