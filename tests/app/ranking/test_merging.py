"""Scores are absolute: lists that are ranked apart can be merged, and what else is in a list hardly moves a score."""

from itertools import islice

import numpy as np
import pytest

from app.ranking.methods import METHODS
from app.ranking.reranker import Reranker
from retrieval.fusion.algorithms import ALGORITHMS
from retrieval.states.cache import StateCache
from retrieval.states.source import StateSource
from retrieval.text.demo import demo_passages

QUERIES = ("how do I read a file line by line", "what does the with statement do", "how are strings compared")
PASSAGES = [passage.content for passage in islice(demo_passages(), 0, 400, 7)]
IRRELEVANT = "The nightingale sings after dusk, when the market has closed and the fishing boats are back."


@pytest.fixture(scope="module")
def reranker(real_encoder):
    return Reranker(StateSource(real_encoder, StateCache(2**27)))


@pytest.fixture(scope="module", params=QUERIES)
def query(request):
    return request.param


@pytest.fixture(scope="module")
def candidates(reranker, query):
    return nearest(reranker, query)


def nearest(reranker, query):
    """Thirty passages, nearest first."""
    order = reranker.rerank(query, PASSAGES, method="classical").order
    return [PASSAGES[at] for at in order[:30]]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("parts", [2, 10])
def test_parts_merged_by_score_have_nearly_the_order_of_the_whole(reranker, method, parts):
    """In the mean over queries and partitions: one query's depends on how the processor rounds."""
    found = []
    for query in QUERIES:
        candidates = nearest(reranker, query)
        whole = reranker.rerank(query, candidates, method=method)
        for seed in range(5):
            merged = np.empty(len(candidates))
            for at in np.array_split(np.random.default_rng(seed).permutation(len(candidates)), parts):
                merged[at] = reranker.rerank(query, [candidates[i] for i in at], method=method).scores
            common = set(whole.order[:10].tolist()) & set(np.argsort(-merged, kind="stable")[:10].tolist())
            ranks = np.argsort(np.argsort(merged)), np.argsort(np.argsort(whole.scores))
            found.append((len(common), np.corrcoef(*ranks)[0, 1], np.abs(merged - whole.scores).mean()))
    common, correlation, moved = np.mean(found, axis=0)
    assert common >= 7.5
    assert correlation > 0.8
    assert moved < 0.06


@pytest.mark.parametrize("fusion", ALGORITHMS)
def test_the_order_of_input_is_no_evidence_where_texts_come_several_times(reranker, query, candidates, fusion):
    """A product of matrices rounds the rows of copies differently; ranks must not make a difference of it."""
    texts = [text for at, text in enumerate(candidates[:13]) for _ in range(1 + at % 4)]
    before = dict(zip(texts, reranker.rerank(query, texts, fusion=fusion).scores, strict=True))
    for seed in range(3):
        turned = [texts[at] for at in np.random.default_rng(seed).permutation(len(texts))]
        after = dict(zip(turned, reranker.rerank(query, turned, fusion=fusion).scores, strict=True))
        np.testing.assert_allclose([after[text] for text in before], list(before.values()), atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [5, 10, 30])
@pytest.mark.parametrize("added", ["duplicate", "empty", "irrelevant"])
def test_another_document_hardly_moves_the_others(reranker, query, candidates, method, count, added):
    few = candidates[:count]
    more = [*few, {"duplicate": few[0], "empty": "", "irrelevant": IRRELEVANT}[added]]
    before = reranker.rerank(query, few, method=method).scores
    after = reranker.rerank(query, more, method=method).scores
    assert np.abs(after[:count] - before).max() < 0.15
    assert np.abs(after[:count] - before).mean() < 0.06
    if added == "duplicate":
        assert after[count] == after[0]
    else:
        assert after[count] < 0.3


@pytest.mark.parametrize("method", METHODS)
def test_a_lone_document_is_scored_for_what_it_says(reranker, method):
    question = "which bird sings at night"
    answer, other = (
        reranker.rerank(question, [text], method=method).scores[0]
        for text in ("The nightingale is a bird that sings at night.", "Stock prices fell sharply on Monday.")
    )
    assert answer > 0.8
    assert other < 0.1


def test_the_best_of_irrelevant_passages_stays_low(reranker):
    ranking = reranker.rerank("which bird sings at night", PASSAGES[:20])
    assert ranking.scores.max() < 0.3
