import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.measure import Sample, percentile


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.95, 95), (0.951, 96), (1, 100), (0.001, 1)])
def test_percentile_is_the_nearest_rank(share, expected):
    assert percentile(range(100, 0, -1), share) == expected


def test_the_p95_of_a_few_is_the_largest():
    assert percentile([3, 1, 2], 0.95) == 3


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_at_least_the_share_stays_within_and_less_than_it_below(values, share):
    bound = percentile(values, share)
    assert bound in values
    assert sum(value <= bound for value in values) >= share * len(values) - 1e-9
    assert sum(value < bound for value in values) < share * len(values) + 1e-9


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.1)])
def test_no_percentile_without_values_or_of_a_share_that_is_none(values, share):
    with pytest.raises(ValueError, match="no percentile"):
        percentile(values, share)


def test_a_sample_without_counts_says_none():
    assert Sample("a peer", 20, [1.0]).mean_encoded is None
    assert Sample("ours", 20, [1.0, 2.0], [20, 10]).mean_encoded == 15
