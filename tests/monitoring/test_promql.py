import promql_parser
import pytest

from monitoring.promql import Matches, Metric, Unsound, View, one_of, share
from monitoring.registry import metrics

EACH = View("5m", by=("job",))


def test_what_does_not_exist_cannot_be_named():
    with pytest.raises(Unsound, match="there is no metric request_totals"):
        _ = metrics.request_totals
    with pytest.raises(Unsound, match="qrerank_cache_bytes has no label route; it has none"):
        EACH.total(metrics.cache_bytes, "route")
    with pytest.raises(Unsound, match="qrerank_requests_total has no label outcome"):
        EACH.rate(metrics.requests_total, outcome="ok")


@pytest.mark.parametrize(
    "ask",
    [
        lambda: EACH.rate(metrics.cache_bytes),
        lambda: EACH.rate(metrics.request_seconds),
        lambda: EACH.total(metrics.requests_total),
        lambda: EACH.usual(metrics.requests_total),
        lambda: EACH.quantile(0.95, metrics.requests_total),
        lambda: EACH.grown(metrics.requests_total),
        lambda: EACH.mean(metrics.ready),
    ],
)
def test_a_metric_tells_only_what_its_kind_can(ask):
    with pytest.raises(Unsound):
        ask()


def test_series_that_never_match_are_not_combined():
    by_route = EACH.rate(metrics.requests_total, "route")
    with pytest.raises(Unsound, match="always empty"):
        _ = by_route / EACH.rate(metrics.requests_total)


def test_queries_are_what_they_read_like():
    quantile = EACH.quantile(0.95, metrics.request_seconds, "route", outcome="ok")
    assert str(quantile) == (
        'histogram_quantile(0.95, sum by (job, le, route) (rate(qrerank_request_seconds_bucket{outcome="ok"}[5m])))'
    )
    assert quantile.labels == {"job", "route"}
    mean = View("1m").mean(metrics.stage_seconds, "stage")
    assert str(mean) == (
        "sum by (stage) (rate(qrerank_stage_seconds_sum[1m])) / sum by (stage) (rate(qrerank_stage_seconds_count[1m]))"
    )
    assert str(View("1m").total(metrics.ready) + 1) == "sum(qrerank_ready) + 1"


def test_operators_bind_as_they_are_written():
    a, b = View("1m").total(metrics.ready), View("1m").total(metrics.workers)
    for query in ((a + b) / b, a + b / b, (a / b > 1).both(b < 2), share(a, b)):
        parsed = promql_parser.parse(str(query))
        assert parsed.prettify().replace("{}", "").split() == str(query).split()
    assert str((a + b) / b).startswith("(")
    assert str(share(a, b)) == "(sum(qrerank_ready) or (sum(qrerank_workers) * 0)) / sum(qrerank_workers)"


def test_values_are_quoted_and_taken_literally():
    odd = Metric("m", "gauge", frozenset({"label"}))
    assert str(View("1m").total(odd, label='a"b\\c')) == r'sum(m{label="a\"b\\c"})'
    assert one_of(["a.b", "c|d"]) == Matches(r"a\.b|c\|d")
    for matches in (one_of(["a.b", "/v1/{id}"]), Matches("5..", negated=True)):
        text = str(View("1m").total(odd, label=matches))
        assert promql_parser.parse(text).expr.matchers.matchers[0].value == matches.expression
