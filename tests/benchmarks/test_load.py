import pytest

from benchmarks.load import buckets_of, lag_within

METRICS = """# TYPE qrerank_event_loop_lag_seconds histogram
qrerank_event_loop_lag_seconds_bucket{le="0.001"} 90.0
qrerank_event_loop_lag_seconds_bucket{le="0.01"} 99.0
qrerank_event_loop_lag_seconds_bucket{le="+Inf"} 100.0
qrerank_event_loop_lag_seconds_count 100.0
qrerank_cache_hits_total 7.0
"""


def test_buckets_are_read_from_the_text_format():
    assert buckets_of(METRICS) == {0.001: 90, 0.01: 99, float("inf"): 100}


@pytest.mark.parametrize(("share", "bound"), [(0.5, 0.001), (0.99, 0.01), (0.999, float("inf"))])
def test_a_share_of_the_lags_stays_within_a_bucket(share, bound):
    assert lag_within({}, buckets_of(METRICS), share) == bound


def test_only_what_came_after_the_first_reading_counts():
    before = {0.001: 90.0, 0.01: 90.0}
    assert lag_within(before, {0.001: 90.0, 0.01: 95.0}, 0.5) == 0.01


def test_a_server_without_the_histogram_has_no_lag():
    assert lag_within({}, {}, 0.99) is None
    assert lag_within({0.001: 5.0}, {0.001: 5.0}, 0.99) is None
