import numpy as np
import pytest

from app.ranking.job import Stopwatch
from app.ranking.methods import METHODS
from app.ranking.scoring import Fusion, Scorer
from quantum.feature_maps import feature_map
from retrieval.encoder.hash_encoder import HashEncoder

TEXTS = ["an owl song", "market prices", "owl", "river stone", "dusk lamp"]
LEXICAL = np.array([2.0, 0.0, 1.0, 0.5, 0.0])


def scorer(method="hybrid", exclude=()) -> Scorer:
    return Scorer(feature_map(), Fusion(), method, HashEncoder().encode(["owl song", *exclude], "query"), Stopwatch())


def test_fusion_weights():
    fusion = Fusion()
    assert fusion.weights("hybrid", excluding=False) == {"classical": 0.5, "quantum": 1.0, "lexical": 1.0}
    assert fusion.weights("hybrid", excluding=True) == {"classical": 2.0, "quantum": 1.0, "lexical": 1.0}
    assert fusion.weights("quantum", excluding=False) == {"quantum": 1.0}
    assert fusion.weights("quantum", excluding=True) == {"quantum": 1.0, "classical": 1.0}
    assert fusion.weights("classical", excluding=True) == {"classical": 1.0}


@pytest.mark.parametrize("method", METHODS)
def test_batches_add_up_to_the_whole(method):
    states = HashEncoder().encode(TEXTS)
    whole, parts = scorer(method), scorer(method)
    whole.put(0, np.arange(5), states)
    for part, at in enumerate(([3, 0], [4], [1, 2])):
        parts.put(part, np.array(at), states.take(at))
    expected, scores = whole.scores(LEXICAL, TEXTS), parts.scores(LEXICAL, TEXTS)
    np.testing.assert_allclose(scores.fused, expected.fused, atol=1e-6)
    assert scores.rankers.keys() == expected.rankers.keys()
    for name in scores.rankers:
        np.testing.assert_allclose(scores.rankers[name], expected.rankers[name], atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_part_takes_the_place_of_what_was_put_as_it_before(method):
    states = HashEncoder().encode(TEXTS)
    at_once, piecemeal = scorer(method), scorer(method)
    at_once.put(0, np.arange(5), states)
    for stop in (2, 3, 5):
        piecemeal.put(0, np.arange(stop), states.take(range(stop)))
        scores = piecemeal.scores(LEXICAL, TEXTS)
        assert (scores.encoded, scores.chunks, scores.tokens) == (stop, stop, states.lengths[:stop].sum())
    np.testing.assert_array_equal(scores.fused, at_once.scores(LEXICAL, TEXTS).fused)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("exclude", [(), ("lamp",)])
def test_a_document_scores_as_the_best_of_its_texts(method, exclude):
    states = HashEncoder().encode(TEXTS)
    owners = np.array([1, 0, 1, 0, 2])
    documents, each = scorer(method, exclude), scorer(method, exclude)
    documents.put(0, owners[:2], states.take([0, 1]))
    documents.put(1, owners[2:], states.take([2, 3, 4]))
    each.put(0, np.arange(5), states)
    scores = documents.scores(LEXICAL[:3], TEXTS[:3])
    best, by_text = scores.rankers, each.scores(LEXICAL, TEXTS).rankers
    assert (scores.encoded, scores.chunks, scores.tokens) == (3, 5, states.lengths.sum())
    for name in best.keys() - {"lexical"}:
        for at in range(3):
            assert best[name][at] == pytest.approx(by_text[name][owners == at].max(), abs=1e-6)


def test_among_its_like_a_document_stands_where_its_best_text_does():
    states = HashEncoder().encode(["owl song", "owl song dusk", "market prices lamp river"])
    one, two = scorer(), scorer()
    one.put(0, np.array([0, 1]), states.take([0, 1]))
    two.put(0, np.array([1, 0, 1]), states.take([1, 0, 2]))
    ones, twos = one.scores(LEXICAL[:2], TEXTS[:2]), two.scores(LEXICAL[:2], TEXTS[:2])
    np.testing.assert_allclose(ones.fused, twos.fused, atol=1e-6)


def test_documents_without_states_stand_below_in_prescore_order():
    half = scorer()
    half.put(0, np.array([1, 4]), HashEncoder().encode([TEXTS[1], TEXTS[4]]))
    found = half.scores(LEXICAL, TEXTS)
    scores, rankers = found.fused, found.rankers
    assert min(scores[1], scores[4]) > scores[0] > scores[2] > scores[3] > 0
    assert np.isnan(rankers["quantum"][[0, 2, 3]]).all()


def test_without_any_states_the_prescore_decides():
    scores = scorer().scores(LEXICAL, TEXTS)
    np.testing.assert_allclose(scores.fused, LEXICAL / (1 + LEXICAL))
    assert list(scores.rankers) == ["lexical"]
