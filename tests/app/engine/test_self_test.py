import numpy as np
import pytest

from app.engine.self_test import check_order, check_pairs
from app.errors import NotReady
from app.ranking.reranker import Reranker
from retrieval.encoder.hash_encoder import HashEncoder


@pytest.mark.parametrize("model", ["reranker", "real_reranker"])
def test_a_model_that_works_is_right_whatever_the_number(model, request):
    reranker = request.getfixturevalue(model)
    for number in (0, 1, 7, 42, 1000, 65_536, 10**9):
        check_order(reranker, number)


def test_a_model_that_ranks_nonsense_first_is_noticed():
    class Lost(HashEncoder):
        def tokenize(self, texts, role="document"):  # noqa: ARG002
            read = ["stock" if "prices" in text or "bird" in text else "rain" for text in texts]
            return super().tokenize(
                [" ".join([word] * len(text.split())) for word, text in zip(read, texts, strict=True)]
            )

    reranker = Reranker(Lost())
    with pytest.raises(NotReady, match="may be damaged"):
        check_order(reranker, 1)


def test_nothing_of_it_is_remembered_or_learned(reranker):
    apart = reranker.isolated_copy()
    before = reranker.source.shared_encoder.counts(), reranker.source.cache.counts(), reranker._pace.cost
    for number in range(3):
        check_order(apart, number)
    after = reranker.source.shared_encoder.counts(), reranker.source.cache.counts(), reranker._pace.cost
    assert after == before


class Constant:
    """A cross-encoder that prefers one of two documents."""

    def __init__(self, *scores):
        self._scores = scores

    def scores(self, *_):
        return np.array(self._scores)


def test_a_cross_encoder_must_tell_relevant_from_irrelevant():
    check_pairs(Constant(-1.0, 2.0))
    for scores in ((2.0, -1.0), (1.0, 1.0), (1.0, np.nan)):
        with pytest.raises(NotReady, match="cross-encoder ranked the relevant"):
            check_pairs(Constant(*scores))
