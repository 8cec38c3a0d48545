import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.server import Server
from benchmarks.sizes import DEPLOYMENTS, Configuration, Measured, Rule, report, rule
from benchmarks.sizing import burst, forget_peaks, peak
from benchmarks.wire import post
from tests.app.live import live

FEW, MANY, PAIR = Configuration(1, 1, 64, 8), Configuration(1, 1, 256, 32), Configuration(2, 2, 256, 32)


def measured(configuration, most, idle=400.0):
    return Measured(configuration, 3.0, idle, most, most - 10, 50.0)


ROWS = [measured(FEW, 590), measured(MANY, 710), measured(PAIR, 1400, idle=900)]


def test_the_rule_is_the_line_through_two_rows():
    found = rule(ROWS)
    assert found.request == pytest.approx((710 - 590) / 24)
    assert found.working == pytest.approx(140 - 8 * 5)
    assert (found.idle, found.supervisor) == (400, 100)
    with pytest.raises(ValueError, match="several workers"):
        rule(ROWS[:2])


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(500, 2000)), min_size=2, max_size=8))
def test_no_measured_row_lies_above_the_rule(points):
    rows = [measured(Configuration(1, 1, 64, requests), most) for requests, most in points]
    if len({row.at_once for row in rows}) < 2:
        with pytest.raises(ValueError, match="few and with many"):
            rule([*rows, ROWS[-1]])
        return
    found = rule([*rows, ROWS[-1]])
    assert all(found.working + row.at_once * found.request >= row.working - 1e-6 for row in rows)


def test_the_limit_leaves_a_fifth_of_every_workers_peak_free():
    found = Rule(idle=400, supervisor=100, working=50, request=5)
    assert found.peak(FEW) == 400 + 50 + 64 + 40
    assert found.peak(PAIR) == 2 * (400 + 50 + 256 + 160) + 100
    for each in DEPLOYMENTS:
        limit = found.limit(each.given)
        assert limit % 128 == 0
        assert limit * 0.8 >= found.peak(each.given) > (limit - 128) * 0.8


def test_the_report_has_a_row_for_each_server_and_deployment():
    text = report(ROWS)
    assert "| 1, 1, 64, 8 | 3.00 | 400 | 590 | 580 | 50.0 |" in text
    assert "idle 400, working 100, request 5.0, supervisor 100 MiB" in text
    assert "| small | 2 | 1 | 1 | 128 | 8 | 1 / 1 | 668 | 896 |" in text  # 400 + 100 + 128 + 40, and a quarter


def test_a_peak_is_of_what_came_after_it_was_forgotten():
    taken = np.ones(2**23)  # 64 MiB
    high = peak(os.getpid())
    del taken
    forget_peaks(os.getpid())
    assert high - peak(os.getpid()) > 32


def test_a_burst_sends_all_there_is(hash_settings, monkeypatch):
    supply = iter([post("/rerank", b'{"query": "owl", "documents": ["an owl", "a road"]}')] * 7)
    with live(hash_settings, monkeypatch) as here:
        assert burst(Server(here.port, os.getpid()), supply, 3) > 0
    assert next(supply, None) is None
