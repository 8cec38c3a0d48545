"""Every query is checked against a real service's /metrics after requests of every kind."""

import re

import pytest

from app.api.problems import KINDS
from app.main import create_app
from app.settings import Settings
from app.telemetry.catalogue import FAMILIES
from monitoring.rows import DASHBOARD, WORK, Query, of_the_dashboard, rules
from tests.monitoring.asked import SETTINGS, TARGET, grouped, holds, selectors

QUERIES = [*of_the_dashboard(), *(Query(rule["alert"], rule["expr"]) for rule in rules())]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.owner)
def test_a_query_finds_what_it_names_and_groups_by_labels_that_are_there(query, exercised):
    for selector in selectors(query.text):
        assert selector.name == "up" or any(selector.takes(sample) for sample in exercised), selector
    for labels, below in grouped(query.text):
        for selector in below:
            named = [sample for sample in exercised if sample.name == selector.name]
            assert labels <= set().union(TARGET, *(sample.labels for sample in named)), query.text


def test_rates_are_of_counters_and_gauges_are_shown_as_they_are():
    types = {family.name: family.type for family in FAMILIES}
    for query in of_the_dashboard():
        rated = set(re.findall(r"(?:rate|increase)\((qrerank_\w+)", query.text))
        assert all(types.get(name, "histogram") != "gauge" for name in rated), query.text
        plain = {selector.name for selector in selectors(query.text)} - rated
        assert all(types[name] == "gauge" for name in plain), query.text


@pytest.mark.parametrize("name", ["job", "instance", "route"])
def test_what_can_be_chosen_is_there(name, exercised):
    text = DASHBOARD.read_text(encoding="utf-8").replace('\\"', '"')
    (selector,) = selectors(re.search(rf"label_values\((.+), {name}\)", text)[1].replace("$job", ".+"))
    values = {sample.labels[name] for sample in exercised if selector.takes(sample)}
    assert values and not values & {"/health", "/health/ready", "/metrics"}


def test_every_metric_is_in_the_dashboard():
    """Metrics that no query uses are useless, except for texts, which passes and tokens cover."""
    named = {selector.name for query in of_the_dashboard() for selector in selectors(query.text)}
    parts = ("", "_bucket", "_sum", "_count")
    unseen = {family.name for family in FAMILIES if not any(family.name + part in named for part in parts)}
    assert unseen == {"qrerank_encoded_texts_total"}


def test_routes_and_reasons_are_the_services(tmp_path):
    routes = set(create_app(Settings(**SETTINGS, data_dir=tmp_path)).openapi()["paths"])
    aside = {route for route in routes if not holds("NotRe", route, WORK.split('"')[1])}
    assert aside == {route for route in routes if route.startswith(("/health", "/metrics"))}
    matchers = [matcher for query in QUERIES for one in selectors(query.text) for matcher in one.matchers]
    named = {
        route
        for label, operator, value in matchers
        if (label, operator) == ("route", "Re")
        for route in value.split("|")
    }
    assert named and named <= routes
    reasons = {value for label, _, value in matchers if label == "reason"}
    assert reasons == {"overloaded", "too-many-requests"} and reasons <= KINDS
