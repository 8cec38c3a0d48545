"""The forecaster: bounds of its losses, agreement with river's, and what one client's flood can do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.feedback.learner import EXPERTS, Evidence, click_weight, losses_of, probabilities, weights

DEFAULTS = np.array([0.5, 1.0, 1.0])
NOTHING = Evidence(0.0, np.zeros(EXPERTS))
finite = st.floats(-4, 4, width=16)


@st.composite
def rankings(draw):
    n = draw(st.integers(1, 12))
    return draw(arrays(np.float32, (3, n), elements=finite)), draw(st.integers(0, n - 1))


@given(rankings())
def test_losses_are_bounded_and_opposite(ranking):
    scores, document = ranking
    relevant, not_relevant = (losses_of(scores, DEFAULTS, document, relevant=label) for label in (True, False))
    assert relevant.shape == (EXPERTS,)
    assert ((relevant >= 0) & (relevant < 1)).all()
    np.testing.assert_allclose(relevant + not_relevant, 1)


def test_a_document_that_an_expert_puts_first_costs_it_nothing():
    scores = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
    losses = losses_of(scores, DEFAULTS, 0, relevant=True)
    assert losses[-1] == 0.0  # the last expert hears the first ranker only
    assert losses[0] == pytest.approx(1 - 1 / np.log2(4))  # by default it is the last of three


def test_a_ranker_that_says_nothing_gains_nothing():
    """Of a constant row, and of one that tells few documents from the rest, no document of the rest is the first."""
    rows = np.random.default_rng(0).normal(size=(2, 41)).astype(np.float32)
    for lexical in (np.zeros(41), np.r_[1, 1, np.zeros(39)]):
        scores = np.vstack([rows, lexical]).astype(np.float32)
        of_each = [[losses_of(scores, DEFAULTS, at, relevant=label) for at in range(2, 41)] for label in (True, False)]
        for losses in of_each:
            assert np.ptp([each[1] for each in losses]) == 0  # the second expert hears the last ranker alone
        middle = 1 + np.count_nonzero(lexical) + 19 if lexical.any() else 21
        assert of_each[0][0][1] == pytest.approx(1 - 1 / np.log2(1 + middle))


def test_a_document_stands_where_its_best_passage_does():
    """Two documents, the first of which has two passages: none of them stands above its own document."""
    scores, owners = np.array([[2, 3, 1], [1, 0, 3], [2, 3, 1]], dtype=np.float32), np.array([0, 0, 2])
    first_ranker, second_ranker = -1, 5  # the experts that hear one alone
    for passage in (0, 1):
        losses = losses_of(scores, DEFAULTS, passage, relevant=True, owners=owners)
        assert losses[first_ranker] == 0.0
        assert losses[second_ranker] == pytest.approx(1 - 1 / np.log2(3))
    other = losses_of(scores, DEFAULTS, 2, relevant=True, owners=owners)
    assert other[first_ranker] == pytest.approx(1 - 1 / np.log2(3))  # one document is above, with two passages
    assert other[second_ranker] == 0.0


@given(rankings())
def test_documents_of_one_passage_are_ranked_as_passages(ranking):
    scores, document = ranking
    owners = np.arange(scores.shape[1])
    alone, owned = (losses_of(scores, DEFAULTS, document, relevant=True, owners=each) for each in (None, owners))
    np.testing.assert_array_equal(alone, owned)


@pytest.fixture(scope="module")
def forecaster():
    """Make river's forecaster of a rate. To import it takes a second, which only this process needs."""
    from river.base import Regressor
    from river.ensemble import EWARegressor
    from river.optim.losses import Absolute

    class Constant(Regressor):
        """An expert whose prediction is one of the features: its loss."""

        def __init__(self, at):
            self.at = at

        def predict_one(self, x):
            return x[self.at]

        def learn_one(self, x, y):
            pass

    return lambda rate: EWARegressor([Constant(at) for at in range(EXPERTS)], Absolute(), rate)


@given(arrays(float, st.tuples(st.integers(1, 20), st.just(EXPERTS)), elements=st.floats(0, 1)))
def test_probabilities_agree_with_river(forecaster, losses):
    rate = np.sqrt(8 * np.log(EXPERTS) / len(losses))
    river = forecaster(rate)
    for row in losses:
        river.learn_one(dict(enumerate(row)), 0.0)
    prior = probabilities([], 1)
    expected = prior * np.array(river.weights)
    found = probabilities([Evidence(float(len(losses)), losses.sum(axis=0))], 1000)
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-9, atol=1e-300)


@given(st.lists(arrays(float, EXPERTS, elements=st.floats(0, 50)), max_size=4))
def test_weights_are_a_mean_of_weightings(losses):
    found = probabilities([Evidence(50.0, each) for each in losses], 200)
    assert found.sum() == pytest.approx(1)
    learned = weights(found, DEFAULTS)
    assert learned.sum() == pytest.approx(1)
    assert (learned >= 0).all()
    np.testing.assert_allclose(weights(probabilities([NOTHING], 1), DEFAULTS), weights(probabilities([], 1), DEFAULTS))


def test_a_flood_of_one_client_weighs_no_more_than_its_limit():
    honest, flood = np.ones(EXPERTS), np.ones(EXPERTS)
    honest[-1], flood[3] = 0.0, 0.0  # each finds another expert the best
    said = [Evidence(100.0, 100 * honest), Evidence(100.0, 100 * flood)]
    flooded = [said[0], Evidence(10.0**6, 10.0**6 * flood)]
    np.testing.assert_allclose(probabilities(said, 100), probabilities(flooded, 100), rtol=1e-9)


def test_clicks_count_by_their_position():
    assert [click_weight(position) for position in (1, 2, 10, 500)] == [0.1, 0.2, 1.0, 1.0]


def test_the_regret_is_within_its_bound():
    generator = np.random.default_rng(1)
    losses = generator.uniform(size=(400, EXPERTS)) * np.linspace(0.5, 1, EXPERTS)
    suffered, sums = 0.0, np.zeros(EXPERTS)
    for at, row in enumerate(losses):
        found = probabilities([Evidence(float(at), sums)], 10**6)
        suffered += float(found @ row)
        sums += row
    bound = (
        np.sqrt(len(losses) / 2 * np.log(1 / probabilities([], 1).min())) * 2
    )  # a rate that changes costs up to twice
    assert suffered - sums.min() <= bound
