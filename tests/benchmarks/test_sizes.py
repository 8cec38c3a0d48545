import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.sizes import DEPLOYMENTS, Configuration, Measured, Rule, report, rule

FEW, MANY, PAIR = Configuration(1, 1, 64, 8), Configuration(1, 1, 256, 32), Configuration(2, 2, 256, 32)


def measured(configuration, peak, idle=400.0, cache=50.0):
    return Measured(configuration, 3.0, idle, idle - 30, peak, peak - 10, cache, 1000, 100.0, 8.0)


ROWS = [measured(FEW, 590), measured(MANY, 710), measured(PAIR, 1400, idle=900)]


def test_what_is_neither_idle_nor_cache_is_work():
    assert measured(FEW, 590).working == 140


def test_a_burst_has_no_more_requests_in_work_than_it_sends():
    assert (FEW.at_once, MANY.at_once, PAIR.at_once) == (8, 32, 32)


def test_the_rule_is_the_line_through_two_rows():
    found = rule(ROWS)
    assert found.request == pytest.approx((710 - 590) / 24)
    assert found.working == pytest.approx(140 - 8 * 5)
    assert (found.idle, found.supervisor) == (400, 100)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(500, 2000)), min_size=2, max_size=8))
def test_no_measured_row_lies_above_the_rule(points):
    rows = [measured(Configuration(1, 1, 64, requests), peak) for requests, peak in points]
    if len({row.given.at_once for row in rows}) < 2:
        with pytest.raises(ValueError, match="few and with many"):
            rule([*rows, ROWS[-1]])
        return
    found = rule([*rows, ROWS[-1]])
    assert found.request >= 0
    for row in rows:
        assert found.working + row.given.at_once * found.request >= row.working - 1e-6


def test_without_several_workers_there_is_no_rule():
    with pytest.raises(ValueError, match="several workers"):
        rule(ROWS[:2])


def test_the_peak_is_every_workers():
    found = Rule(idle=400, supervisor=100, working=50, request=5)
    assert found.peak(FEW) == 400 + 50 + 64 + 40
    assert found.peak(PAIR) == 2 * (400 + 50 + 256 + 160) + 100


def test_the_limit_leaves_a_fifth_free_and_is_round():
    found = Rule(idle=400, supervisor=100, working=50, request=5)
    for each in DEPLOYMENTS:
        limit = found.limit(each.given)
        assert limit % 128 == 0
        assert limit * 0.8 >= found.peak(each.given) > (limit - 128) * 0.8


def test_the_report_has_a_row_for_each_server_and_deployment():
    text = report(ROWS)
    assert "| 1, 1, 64, 8 | 3.0 | 400 / 370 | 590 | 580 | 50 | 100 | 8.00 |" in text
    assert "1000 passages of 216 tokens take 50.0 MiB" in text
    assert "idle 400, working 100, request 5.0, supervisor 100 MiB" in text
    assert (
        "| small | 2 | 1 | 1 | 128 | 8 | 1 / 1 | 668 | 896 |" in text
    )  # 400 + 100 + 128 + 40, a quarter more, rounded
