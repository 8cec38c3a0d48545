"""The randomisation test against all sign flips, against scipy, and edge cases."""

from itertools import product

import numpy as np
import pytest

from retrieval.evaluation.significance import Paired, holm, paired_test

RNG = np.random.default_rng(3)
A = RNG.random(60)
NEAR, FAR = A + 0.03 * RNG.standard_normal(60) - 0.008, A - 0.1 + 0.1 * RNG.standard_normal(60)


@pytest.mark.parametrize("b", [NEAR, FAR, RNG.random(60), A + 0.02 * RNG.standard_normal(60)])
def test_agrees_with_scipy(b: np.ndarray) -> None:
    from scipy import stats  # takes half a second, which other processes of the tests need not spend

    result = paired_test(A, b)
    expected = stats.permutation_test(
        (A, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=9999, rng=1
    )
    assert result.delta == pytest.approx(np.mean(A - b))
    # Both p estimate the same number from 10 000 samples: they differ by at most five standard errors.
    error = np.sqrt(2 * max(expected.pvalue * (1 - expected.pvalue), 1e-4) / 10_000)
    assert abs(result.p - expected.pvalue) < 5 * error
    assert result.p == pytest.approx(stats.ttest_rel(A, b).pvalue, abs=0.05)


def test_agrees_with_all_flips_where_differences_tie() -> None:
    difference = np.array([0.1, 0.2, 0.3, 0.1, -0.1, 0.2])
    sums = [abs(np.dot(signs, difference)) for signs in product((-1, 1), repeat=6)]
    exact = np.mean(np.array(sums) >= abs(difference.sum()) - 1e-9)
    assert paired_test(difference, np.zeros(6), 40_000).p == pytest.approx(exact, abs=0.01)


def test_is_symmetric_seeded_and_never_0() -> None:
    one, other = paired_test(A, FAR), paired_test(FAR, A)
    assert (one.p, one.delta) == (other.p, -other.delta)
    assert one.p == 1 / 10_001
    assert paired_test(A, NEAR) == paired_test(A, NEAR)
    assert paired_test(A, NEAR, seed=1).p != paired_test(A, NEAR, seed=2).p


def test_no_difference_is_no_evidence() -> None:
    assert paired_test(A, A) == Paired(0.0, 1.0)
    assert paired_test(np.array([1.0]), np.array([0.0])) == Paired(1.0, 1.0)  # with one query, every flip is as extreme


def test_many_queries_go_block_by_block() -> None:
    # With 2**19 queries a block has two permutations, so 5 permutations need a shorter last block.
    many = np.ones(2**19)
    assert paired_test(many, np.zeros_like(many), permutations=5) == Paired(1.0, 1 / 6)


@pytest.mark.parametrize(
    ("a", "b", "permutations", "message"),
    [
        ([1.0], [[1.0]], 10, "same queries"),
        ([1.0], [1.0, 2.0], 10, "same queries"),
        ([], [], 10, "same queries"),
        ([np.nan], [1.0], 10, "non-finite"),
        ([1.0], [1.0], 0, "permutation"),
    ],
)
def test_refuses(a: list[float], b: list[float], permutations: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired_test(np.array(a), np.array(b), permutations)


def test_holm_agrees_with_its_definition() -> None:
    """Reject, from the smallest p on, as long as p ≤ level/(m − i): a corrected p is the least level that rejects."""
    for seed in range(5):
        p = np.random.default_rng(seed).random(7) ** 4
        corrected = np.array(holm(p.tolist()))
        for level in (0.01, 0.05, 0.2, 0.7):
            rising = np.argsort(p)
            passes = p[rising] <= level / np.arange(len(p), 0, -1)
            rejected = rising[: len(p) if passes.all() else int(np.argmin(passes))]
            assert set(np.flatnonzero(corrected <= level)) == set(rejected)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []
    for wrong in (float("nan"), -0.1, 1.1):
        with pytest.raises(ValueError, match="in \\[0, 1\\]"):
            holm([0.5, wrong])
