"""Sequential and adaptive modes: who is read, and what becomes of the order."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from retrieval.fusion.cascade import adaptive, sequential, spread_of_best
from retrieval.fusion.normalization import ranking

SCORES = hnp.arrays(np.float64, st.integers(0, 15), elements=st.integers(-5, 5).map(float))


@settings(deadline=None)
@given(SCORES, st.integers(0, 20), st.integers(0, 10**6))
def test_only_the_best_are_read_and_they_stay_above_the_rest(x: NDArray[np.float64], k: int, seed: int) -> None:
    read: list[int] = []

    def dear(best: NDArray[np.int64]) -> NDArray[np.float64]:
        read.extend(best.tolist())
        return np.random.default_rng(seed).choice([1.0, 2.0, 3.0, np.nan], len(best))

    fused, before = sequential(x, dear, k), ranking(x)
    assert np.isfinite(fused).all()
    assert read == (before[:k].tolist() if min(k, len(x)) > 1 else [])
    assert fused[before[:k]].min(initial=np.inf) >= fused[before[k:]].max(initial=-np.inf)
    assert ranking(fused[before[k:]]).tolist() == list(range(len(before[k:])))


def test_both_rankers_decide_among_the_best() -> None:
    cheap = np.array([4.0, 3.0, 2.0, 1.0, 0.0])
    opposite = sequential(cheap, lambda best: -cheap[best] * 2, 3)
    assert ranking(opposite).tolist() == [0, 1, 2, 3, 4]  # they cancel: a tie
    near = np.array([4.0, 3.9, 2.0, 1.0, 0.0])
    assert ranking(sequential(near, lambda _: np.array([0.0, 9.0, 0.0]), 3)).tolist() == [1, 0, 2, 3, 4]
    assert ranking(sequential(cheap, lambda _: np.full(3, np.nan), 3)).tolist() == [0, 1, 2, 3, 4]
    partly = sequential(cheap, lambda _: np.array([0.0, np.nan, 9.0, 8.0]), 4)  # the second stays where it was
    assert ranking(partly).tolist() == [2, 1, 0, 3, 4]


def test_a_settled_order_is_not_read() -> None:
    clear, close = np.array([9.0, 1.0, 0.5, 0.0]), np.array([1.0, 0.98, 0.99, -3.0])
    asked: list[int] = []

    def dear(best: NDArray[np.int64]) -> NDArray[np.float64]:
        asked.append(len(best))
        return np.array([0.0, 9.0, 9.0])

    assert spread_of_best(clear, 3) > 2 > spread_of_best(close, 3)
    assert ranking(adaptive(clear, dear, 3, 2.0)).tolist() == [0, 1, 2, 3]
    assert asked == []
    assert ranking(adaptive(close, dear, 3, 2.0)).tolist() == [2, 0, 1, 3]
    assert asked == [3]
    assert spread_of_best(np.zeros(0), 3) == 0
