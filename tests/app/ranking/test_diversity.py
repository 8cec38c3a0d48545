"""Rankings whose documents differ: nothing changes without, copies stand apart with it, and scores follow the order."""

import numpy as np
import pytest

from app.ranking.reranker import Reranker

QUERY = "does the nightingale sing at night"
TEXTS = [
    "The nightingale sings at night.",
    "The nightingale sings at night.",
    "Owls are birds that hunt mice at night.",
    "Many birds sing at dawn.",
    "The nightingale sings at night.",
    "Stock prices fell on Monday.",
]


@pytest.mark.parametrize("method", ["classical", "quantum", "hybrid"])
def test_copies_stand_apart_and_scores_follow(real_reranker, method):
    plain = real_reranker.rerank(QUERY, TEXTS, method=method)
    diverse = real_reranker.rerank(QUERY, TEXTS, method=method, diversity=0.7)
    assert plain.near_duplicates is None
    assert diverse.near_duplicates == pytest.approx(2 / 6)
    assert set(plain.order[:3].tolist()) == {0, 1, 4}
    assert len({0, 1, 4} & set(diverse.order[:3].tolist())) == 1
    assert diverse.order[0] == plain.order[0]
    assert (np.diff(diverse.scores[diverse.order]) < 0).all()
    assert diverse.scores.max() == pytest.approx(plain.scores.max(), abs=1e-5)
    np.testing.assert_array_equal(diverse.log_odds, plain.log_odds)


@pytest.mark.parametrize("min_score", [0.3, 0.7, 1.0])
def test_what_scores_too_little_is_not_lifted_for_being_different(real_reranker, min_score):
    own = real_reranker.rerank(QUERY, TEXTS).scores
    found = real_reranker.rerank(QUERY, TEXTS, diversity=0.9, min_score=min_score)
    assert own.min() < min_score
    np.testing.assert_array_equal(found.scores >= min_score, own >= min_score)
    assert (np.diff(found.scores[found.order]) <= 0).all()
    assert real_reranker.rerank(QUERY, TEXTS, diversity=0.9).scores.min() > own.min()
    assert found.near_duplicates == pytest.approx(2 / 6)


def test_no_diversity_is_todays_ranking_to_the_bit(real_reranker):
    plain, same = real_reranker.rerank(QUERY, TEXTS), real_reranker.rerank(QUERY, TEXTS, diversity=0.0)
    assert plain.scores.tobytes() == same.scores.tobytes()
    assert plain.order.tolist() == same.order.tolist()


def test_what_was_not_read_stays_below(reranker: Reranker):
    texts = [f"owl {at} sings" for at in range(6)]
    found = reranker.rerank("owl sings", texts, encode_limit=3, diversity=1.0)
    assert found.encoded == 3
    read = ~np.isnan(found.rankers["quantum"])
    assert found.scores[read].min() > found.scores[~read].max()
    assert read[found.order].tolist() == [True] * 3 + [False] * 3


@pytest.mark.parametrize("diversity", [-0.1, 1.5, float("nan")])
def test_what_is_no_share_is_refused(reranker: Reranker, diversity):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        reranker.rerank("owl", ["an owl"], diversity=diversity)
