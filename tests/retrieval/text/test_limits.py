import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.text import limits as text_limits
from retrieval.text.limits import Allowance, runs


@given(st.lists(st.integers(0, 9)), st.integers(1, 20), st.none() | st.integers(1, 5))
def test_runs_are_all_texts_in_order_and_within_their_bounds(lengths, code_points, count):
    found = list(runs(lengths, code_points, count))
    assert [length for run in found for length in lengths[run]] == lengths
    for run in found:
        size = run.stop - run.start
        assert size == 1 or (1 < size <= (count or math.inf) and sum(lengths[run]) <= code_points)
    for one, other in pairwise(found):  # no batch has room for the next text
        full = sum(lengths[one]) + lengths[other.start] > code_points
        assert full or one.stop - one.start == count


@pytest.mark.parametrize(("until", "rest"), [(math.inf, True), (0.0, False)])
def test_there_is_always_time_for_the_first_texts_and_for_others_until_it_is_over(monkeypatch, until, rest):
    monkeypatch.setattr(text_limits, "_ALWAYS", 10)
    time_left = Allowance(until)
    assert [time_left.covers(text) for text in ("a" * 6, "a" * 4, "", "a", "")] == [True, True, True, rest, rest]
