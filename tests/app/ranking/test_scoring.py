import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ranking.calibration import fallback, probability
from app.ranking.candidates import SentDocuments
from app.ranking.hybrid import Fusion
from app.ranking.job import Job
from app.ranking.methods import METHODS
from app.ranking.scoring import Scorer, unread
from quantum.feature_maps import feature_map
from quantum.negation import excluded_shares
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.encoder.states import Encoded, ScatteredStates
from retrieval.states.source import StateSource
from retrieval.text.bm25 import Matches, QueryTerms

TEXTS = ["an owl song", "market prices", "owl", "river stone", "dusk lamp"]
LEXICAL = Matches(np.array([2.0, 0.0, 1.0, 0.5, 0.0]), np.array([1.0, 0.0, 0.4, 0.2, 0.0]))
QUERY = QueryTerms.of("owl song")


def first(count: int) -> Matches:
    return Matches(LEXICAL.scores[:count], LEXICAL.coverage[:count])


def scorer(method="hybrid", exclude=()) -> Scorer:
    states = HashEncoder().encode(["owl song", *exclude], "query")
    return Scorer(feature_map(), Fusion(), fallback(), Job("owl song", method), states)


def sent(texts: list[str]) -> SentDocuments:
    return SentDocuments(texts, StateSource(HashEncoder()))


def put(to: Scorer, part: int, owners: np.ndarray, states: Encoded) -> None:
    to.put(part, owners, ScatteredStates.of([states]))


@pytest.mark.parametrize("method", METHODS)
def test_batches_add_up_to_the_whole(method):
    states = HashEncoder().encode(TEXTS)
    whole, parts = scorer(method), scorer(method)
    put(whole, 0, np.arange(5), states)
    for part, at in enumerate(([3, 0], [4], [1, 2])):
        put(parts, part, np.array(at), states.take(at))
    expected, scored = whole.scores(LEXICAL, sent(TEXTS)), parts.scores(LEXICAL, sent(TEXTS))
    np.testing.assert_allclose(scored.scores, expected.scores, atol=1e-6)
    assert scored.rankers.keys() == expected.rankers.keys()
    for name in scored.rankers:
        np.testing.assert_allclose(scored.rankers[name], expected.rankers[name], atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_what_was_read_of_a_later_copy_counts_for_all(method):
    """Where there was no time for the first, all fell below what was read."""
    texts, late = ["an owl song", "market prices", "an owl song", "dusk lamp"], scorer(method)
    put(late, 0, np.array([1, 2]), HashEncoder().encode(texts).take([1, 2]))
    scores = late.scores(first(4), sent(texts)).scores
    assert scores[0] == scores[2] > scores[1] > scores[3]


@pytest.mark.parametrize("method", METHODS)
def test_a_part_takes_the_place_of_what_was_put_as_it_before(method):
    states = HashEncoder().encode(TEXTS)
    at_once, piecemeal = scorer(method), scorer(method)
    put(at_once, 0, np.arange(5), states)
    for stop in (2, 3, 5):
        put(piecemeal, 0, np.arange(stop), states.take(range(stop)))
        scored = piecemeal.scores(LEXICAL, sent(TEXTS))
        assert (scored.encoded, scored.chunks_read.sum(), scored.tokens) == (stop, stop, states.lengths[:stop].sum())
    np.testing.assert_array_equal(scored.scores, at_once.scores(LEXICAL, sent(TEXTS)).scores)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("exclude", [(), ("lamp",)])
def test_a_document_scores_as_the_best_of_its_texts(method, exclude):
    states = HashEncoder().encode(TEXTS)
    owners = np.array([1, 0, 1, 0, 2])
    documents, each = scorer(method, exclude), scorer(method, exclude)
    put(documents, 0, owners[:2], states.take([0, 1]))
    put(documents, 1, owners[2:], states.take([2, 3, 4]))
    put(each, 0, np.arange(5), states)
    scored = documents.scores(first(3), sent(TEXTS[:3]))
    best, by_text = scored.rankers, each.scores(LEXICAL, sent(TEXTS)).rankers
    assert (scored.encoded, scored.chunks_read.sum(), scored.tokens) == (3, 5, states.lengths.sum())
    for name in best.keys() - {"lexical"}:
        for at in range(3):
            assert best[name][at] == pytest.approx(by_text[name][owners == at].max(), abs=1e-6)


def test_among_its_like_a_document_stands_where_its_best_text_does():
    states = HashEncoder().encode(["owl song", "owl song dusk", "market prices lamp river"])
    one, two = scorer(), scorer()
    put(one, 0, np.array([0, 1]), states.take([0, 1]))
    put(two, 0, np.array([1, 0, 1]), states.take([1, 0, 2]))
    ones, twos = one.scores(first(2), sent(TEXTS[:2])), two.scores(first(2), sent(TEXTS[:2]))
    np.testing.assert_allclose(ones.scores, twos.scores, atol=1e-6)


def test_documents_without_states_stand_below_in_prescore_order():
    half = scorer()
    put(half, 0, np.array([1, 4]), HashEncoder().encode([TEXTS[1], TEXTS[4]]))
    found = half.scores(LEXICAL, sent(TEXTS))
    scores, rankers = found.scores, found.rankers
    assert min(scores[1], scores[4]) > scores[0] > scores[2] > scores[3] > 0
    assert np.isnan(rankers["quantum"][[0, 2, 3]]).all()


def test_without_any_states_the_words_decide():
    scored = scorer().scores(LEXICAL, sent(TEXTS))
    np.testing.assert_array_equal(scored.scores, unread(fallback(), QUERY, LEXICAL).scores)
    assert np.argsort(-scored.scores, kind="stable").tolist() == [0, 2, 3, 1, 4]
    assert list(scored.rankers) == ["lexical"]
    assert not np.any(scored.tokens_read)


@pytest.mark.parametrize("method", METHODS)
def test_a_lone_document_scores_what_its_evidence_says(method):
    alone = scorer(method)
    put(alone, 0, np.array([0]), HashEncoder().encode(TEXTS[:1]))
    scored = alone.scores(first(1), sent(TEXTS[:1]))
    np.testing.assert_allclose(scored.scores, probability(scored.log_odds))


@pytest.mark.parametrize("method", METHODS)
def test_evidence_does_not_depend_on_the_other_documents(method):
    states = HashEncoder().encode(TEXTS)
    whole, part = scorer(method), scorer(method)
    put(whole, 0, np.arange(5), states)
    put(part, 0, np.arange(2), states.take([0, 1]))
    np.testing.assert_allclose(
        part.scores(first(2), sent(TEXTS[:2])).log_odds, whole.scores(LEXICAL, sent(TEXTS)).log_odds[:2], atol=1e-5
    )


def test_where_the_model_knows_no_token_words_decide():
    states = HashEncoder().encode(TEXTS)
    unknown = Encoded(states.pooled, states.tokens, states.offsets, states.lengths, np.diff(states.offsets))
    blind, seeing = scorer(), scorer()
    put(blind, 0, np.arange(5), unknown)
    put(seeing, 0, np.arange(5), states)
    scored = blind.scores(LEXICAL, sent(TEXTS))
    assert not scored.readable
    assert seeing.scores(LEXICAL, sent(TEXTS)).readable
    assert np.argsort(-scored.scores, kind="stable").tolist() == [0, 2, 3, 1, 4]


def test_documents_of_which_no_token_is_known_leave_the_others_to_the_model(real_reranker):
    query, documents = "which bird sings at night", ["stock prices fell", "a nightingale warbles after dusk"]
    ranking = real_reranker.rerank(query, [*documents, "🦉", "🎵🎵", "ሰላም", "👍"])
    assert ranking.readable
    assert ranking.order[0] == 1
    assert not real_reranker.rerank(query, ["🦉", "🎵🎵", "ሰላም"]).readable


@pytest.mark.parametrize("method", ["classical", "quantum", "hybrid"])
@pytest.mark.parametrize("exclude", [[], ["a market of stocks"]])
def test_the_evidence_of_a_document_that_the_model_cannot_read_is_its_own(real_reranker, method, exclude):
    query, documents = "which bird sings at night", ["🦉", "stock prices fell", "a nightingale warbles", "ሰላም bird"]
    together = real_reranker.rerank(query, documents, method=method, exclude=exclude)
    for document, log_odds in zip(documents, together.log_odds, strict=True):
        alone = real_reranker.rerank(query, [document], method=method, exclude=exclude)
        np.testing.assert_allclose(log_odds, alone.log_odds, atol=1e-5)


def test_where_the_model_only_spells_the_query_words_decide():
    spelling = scorer()
    spelling.job.reads = False
    put(spelling, 0, np.arange(5), HashEncoder().encode(TEXTS))
    scored = spelling.scores(LEXICAL, sent(TEXTS))
    assert not scored.readable
    assert np.argsort(-scored.scores, kind="stable").tolist() == [0, 2, 3, 1, 4]


WORD = st.sampled_from("owl dusk river stone song market cloud lamp".split())
TEXT = st.lists(WORD, min_size=1, max_size=6).map(" ".join)


@given(st.lists(TEXT, min_size=1, max_size=30), TEXT, st.sampled_from(METHODS), st.randoms(use_true_random=False))
def test_an_excluded_document_never_rises(documents, excluded, method, chance):
    """The document that lies most in what is excluded passes none that stood above it."""
    if set(excluded.split()) <= {"owl", "song"}:
        return  # the query itself
    lexical = np.array([chance.random() * 3 for _ in documents])
    matches, states = Matches(lexical, lexical / 3), HashEncoder().encode(documents)
    ranked = []
    for exclude in ((), (excluded,)):
        one = scorer(method, exclude)
        put(one, 0, np.arange(len(documents)), states)
        ranked.append(one.scores(matches, sent(documents)).scores)
    query, without = HashEncoder().encode(["owl song", excluded]).pooled
    most = int(excluded_shares(query, without[np.newaxis], states.pooled).argmax())
    before, after = ranked
    above = set(np.flatnonzero(before > before[most] + 1e-12).tolist())
    assert above <= set(np.flatnonzero(after >= after[most] - 1e-12).tolist())
