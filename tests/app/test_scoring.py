import numpy as np
import pytest

from app.scoring import METHODS, Fusion, Scorer
from app.stopwatch import Stopwatch
from quantum.feature_maps import feature_map
from retrieval.hash_encoder import HashEncoder

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
    whole.add(np.arange(5), states)
    for at in ([3, 0], [4], [1, 2]):
        parts.add(np.array(at), states.take(at))
    expected, by_ranker = whole.finish(LEXICAL, TEXTS)
    scores, rankers = parts.finish(LEXICAL, TEXTS)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert rankers.keys() == by_ranker.keys()
    for name in rankers:
        np.testing.assert_allclose(rankers[name], by_ranker[name], atol=1e-6)


def test_documents_without_states_stand_below_in_prescore_order():
    half = scorer()
    half.add(np.array([1, 4]), HashEncoder().encode([TEXTS[1], TEXTS[4]]))
    scores, rankers = half.finish(LEXICAL, TEXTS)
    assert min(scores[1], scores[4]) > scores[0] > scores[2] > scores[3] > 0
    assert np.isnan(rankers["quantum"][[0, 2, 3]]).all()


def test_without_any_states_the_prescore_decides():
    scores, rankers = scorer().finish(LEXICAL, TEXTS)
    np.testing.assert_allclose(scores, LEXICAL / (1 + LEXICAL))
    assert list(rankers) == ["lexical"]
