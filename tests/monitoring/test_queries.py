"""Every query is held to what a real service's /metrics says after requests of every kind."""

import json
import re

import pytest

from app.api.problems import KINDS
from app.main import create_app
from app.settings import Settings
from app.telemetry.catalogue import FAMILIES
from monitoring.dashboard import written
from monitoring.exercise import SETTINGS
from monitoring.queries import of_the_dashboard, of_the_rules
from monitoring.registry import RERANK, SIMILARITY, WORK
from monitoring.rows import ROWS
from tests.monitoring.asked import TARGET, Selector, grouped, holds, selectors

QUERIES = [*of_the_dashboard(), *of_the_rules()]
NOT_OURS = {"up"}


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.whose)
def test_a_query_finds_what_it_names(query, exercised):
    for selector in selectors(query.text):
        if selector.name in NOT_OURS:
            continue
        assert any(selector.takes(sample) for sample in exercised), f"{selector} is nowhere in /metrics"


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.whose)
def test_a_query_groups_by_labels_that_its_series_have(query, exercised):
    for labels, below in grouped(query.text):
        for selector in below:
            named = [sample for sample in exercised if sample.name == selector.name]
            known = set().union(*(sample.labels for sample in named)) if named else set(TARGET)
            assert labels <= known, f"{query.text} groups by {labels - known}"


@pytest.mark.parametrize("name", ["job", "instance", "route"])
def test_what_can_be_chosen_is_there(name, exercised):
    variables = {one["name"]: one for one in json.loads(written(ROWS, ""))["templating"]["list"]}
    selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variables[name]["query"]["query"]).groups()
    (one,) = selectors(selector.replace("$job", ".+"))
    values = {sample.labels[label] for sample in exercised if one.takes(sample)}
    assert values and not values & {"/health", "/health/ready", "/metrics"}


def test_what_is_not_there_would_be_noticed(exercised):
    (there,) = selectors('sum(qrerank_requests_total{status=~"2.."})')
    assert any(there.takes(sample) for sample in exercised)
    for query in ('qrerank_requests{status="200"}', 'qrerank_requests_total{state="200"}', 'qrerank_ready{job="x"}'):
        (missing,) = selectors(query)
        assert not any(missing.takes(sample) for sample in exercised), query
    with pytest.raises(ValueError, match="parenthesis"):
        selectors("sum(rate(qrerank_requests_total[5m])")


def test_every_metric_is_in_the_dashboard(exercised):
    """A metric that nobody looks at costs and tells nothing; texts are told of by passes and tokens."""
    named = {selector.name for query in of_the_dashboard() for selector in selectors(query.text)}
    parts = ("", "_bucket", "_sum", "_count")
    unseen = {family.name for family in FAMILIES if not any(family.name + part in named for part in parts)}
    assert unseen == {"qrerank_encoded_texts_total"}


def test_routes_and_reasons_are_the_services(tmp_path):
    app = create_app(Settings(**SETTINGS, data_dir=tmp_path))
    routes = set(app.openapi()["paths"])
    assert routes.issuperset(RERANK) and routes.issuperset(SIMILARITY)
    aside = {route for route in routes if not holds("NotRe", route, WORK.expression)}
    assert aside == {route for route in routes if route.startswith(("/health", "/metrics"))}
    assert {"/health", "/health/ready", "/metrics"} <= aside
    asked = [matcher for query in QUERIES for one in selectors(query.text) for matcher in one.matchers]
    reasons = {value for label, _, value in asked if label == "reason"}
    assert reasons == {"overloaded", "too-many-requests"} and reasons <= KINDS


def test_matchers_are_read_as_prometheus_reads_them(exercised):
    sample = next(one for one in exercised if one.name == "qrerank_ready")
    for text, takes in [("=~'quantum.*'", True), ("=~'quantum'", False), ("!='x'", True), ("!~'q.+'", False)]:
        (selector,) = selectors(f"qrerank_ready{{job{text}}}")
        assert isinstance(selector, Selector)
        assert selector.takes(sample) is takes
