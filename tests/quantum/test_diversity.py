"""Laws of diverse rankings, and the greedy choice written out as its oracle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum.diversity import diversify, near_duplicates
from quantum.feature_maps import feature_map
from quantum.kernel import gram

MAP = feature_map()


def documents(count: int, copies: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The kernel, logs of probabilities and identities of documents of which there are so many copies."""
    rng = np.random.default_rng(seed)
    identities = rng.permutation(np.repeat(np.arange(count), copies))
    vectors = rng.standard_normal((count, 32))[identities]
    return gram(MAP, vectors), np.log(rng.uniform(0.05, 1, len(identities))), identities


counts, seeds = st.integers(0, 12), st.integers(0, 1000)
shares = st.floats(0, 1)


@given(counts, seeds)
def test_without_diversity_the_order_is_that_of_relevance(count, seed):
    kernel, log_p, _ = documents(count, 2, seed)
    assert diversify(kernel, log_p, 0.0).tolist() == np.argsort(-log_p, kind="stable").tolist()


@given(counts, st.integers(1, 4), seeds, shares)
def test_every_document_has_one_place_and_the_most_relevant_the_first(count, copies, seed, diversity):
    kernel, log_p, _ = documents(count, copies, seed)
    order = diversify(kernel, log_p, diversity)
    assert sorted(order.tolist()) == list(range(len(log_p)))
    assert not count or order[0] == log_p.argmax()


@given(st.integers(1, 8), st.integers(2, 5), seeds, st.floats(0.01, 1))
def test_copies_stand_apart_while_there_are_others(count, copies, seed, quality):
    kernel, log_p, identities = documents(count, copies, seed)
    order = identities[diversify(kernel, quality * log_p, 1.0)]
    assert len(set(order[:count].tolist())) == count
    for at in range(1, len(order)):
        assert order[at] != order[at - 1] or len(set(order[at:].tolist())) == 1


@given(st.integers(2, 12), st.integers(1, 3), seeds, st.floats(0.05, 1), st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_that_of_the_input(count, copies, seed, diversity, random):
    kernel, log_p, _ = documents(count, copies, seed)
    shuffled = np.array(random.sample(range(len(log_p)), len(log_p)))
    again = diversify(kernel[np.ix_(shuffled, shuffled)], log_p[shuffled], diversity)
    assert shuffled[again].tolist() == diversify(kernel, log_p, diversity).tolist()


@given(st.integers(2, 8), seeds, shares)
def test_each_place_goes_to_what_adds_most(count, seed, diversity):
    kernel, log_p, _ = documents(count, 1, seed)
    order = diversify(kernel, log_p, diversity)

    def worth(chosen: list[int]) -> float:
        volume = np.linalg.slogdet(kernel[np.ix_(chosen, chosen)])[1]
        return 2 * (1 - diversity) * log_p[chosen].sum() + diversity * volume

    for place in range(1, count):
        before = order[:place].tolist()
        assert worth([*before, order[place]]) >= max(worth([*before, each]) for each in order[place:]) - 1e-9


def test_a_thousand_documents_are_chosen_in_rounds():
    kernel, log_p, identities = documents(200, 5)
    order = identities[diversify(kernel, log_p, 1.0)]
    assert sorted(order.tolist()) == sorted(identities.tolist())
    assert (order[1:] != order[:-1]).all()


@pytest.mark.parametrize("diversity", [0, 0.3, 1])
def test_what_is_certainly_irrelevant_has_a_place_of_its_own(diversity):
    kernel, log_p, _ = documents(4)
    log_p[1:3] = -np.inf
    order = diversify(kernel, log_p, diversity).tolist()
    assert sorted(order) == [0, 1, 2, 3]
    assert diversity == 1 or set(order[2:]) == {1, 2}


@pytest.mark.parametrize("wrong", [np.nan, 0.1, np.inf])
def test_what_is_no_log_of_a_probability_is_refused(wrong):
    with pytest.raises(ValueError, match="at most 0, and none is NaN"):
        diversify(np.eye(2), np.array([-1.0, wrong]), 0.5)


@pytest.mark.parametrize("diversity", [-0.1, 1.1, np.nan])
def test_what_is_no_share_is_refused(diversity):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        diversify(np.eye(2), np.zeros(2), diversity)


def test_a_kernel_of_other_documents_is_refused():
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        diversify(np.eye(3), np.zeros(2), 0.5)


@given(st.integers(0, 9), st.integers(1, 4), seeds)
def test_near_duplicates_are_those_with_one_before_them(count, copies, seed):
    kernel, log_p, _ = documents(count, copies, seed)
    order = np.random.default_rng(seed).permutation(len(log_p))
    assert near_duplicates(kernel, order) == pytest.approx((copies - 1) / copies if count else 0)
