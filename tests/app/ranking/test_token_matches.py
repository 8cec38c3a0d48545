"""Token matches are the quantum score, taken apart; the weight-free encoder's tokens know no context."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ranking.reranker import Reranker
from retrieval.deadline import Cancelled, Deadline
from retrieval.encoder.hash_encoder import HashEncoder

QUERY = "which bird sings at night"
WORDS = st.lists(st.sampled_from("owl bird sings night which 😀 river . ! 。".split()), max_size=30).map(" ".join)


class Short(HashEncoder):
    """Reads four words at once."""

    max_tokens = 4


@given(WORDS)
def test_the_mean_of_the_best_is_the_quantum_score(text):
    reranker = Reranker(HashEncoder())
    [found] = reranker.token_matches(QUERY, [text]).texts()
    if len(found.spans):
        score = reranker.rerank(QUERY, [text], method="quantum").rankers["quantum"][0]
        assert found.best.mean() == pytest.approx(score, abs=1e-5)
    else:
        assert set(found.token) == {-1}


def test_all_of_a_long_query_is_compared():
    reranker, text = Reranker(Short()), "a bird sings"
    matches = reranker.token_matches(QUERY, [text])
    assert [QUERY[start:end] for start, end in matches.query] == QUERY.split()
    score = reranker.rerank(QUERY, [text], method="quantum").rankers["quantum"][0]
    assert matches.texts()[0].best.mean() == pytest.approx(score, abs=1e-5)


def test_each_chunk_of_a_query_has_markers_of_its_own(late_encoder):
    reranker, query, text = Reranker(late_encoder), "which owl hunts at night " * 10, "an owl hunts mice"
    chunks = reranker.source.query_chunks(query)
    apart = [reranker.token_matches(chunk, [text]).texts()[0].best for chunk in chunks]
    assert [len(best) for best in apart] == [25, 25]
    np.testing.assert_allclose(reranker.token_matches(query, [text]).texts()[0].best, np.concatenate(apart), atol=1e-6)


@given(WORDS)
def test_tokens_lie_in_their_text_in_order_and_match_what_is_like_them(text):
    matches = Reranker(HashEncoder()).token_matches(QUERY, [text])
    [found] = matches.texts()
    words = [QUERY[start:end] for start, end in matches.query]
    assert words == QUERY.split()
    assert (np.diff(found.spans, axis=1) > 0).all()
    assert (np.diff(found.spans[:, 0]) > 0).all()
    for (start, end), fidelity, at in zip(found.spans, found.fidelity, found.query_token, strict=True):
        word = text[start:end]
        assert (fidelity > 1 - 1e-5) == (word in words)
        if word in words:
            assert words[at] == word
    assert all(found.fidelity[at] >= best - 1e-6 for at, best in zip(found.token, found.best, strict=True) if at >= 0)


def test_chunks_of_a_long_text_keep_their_places():
    text = "the owl hunts mice in the dark and the bird sings at night until the morning comes"
    [whole] = Reranker(HashEncoder()).token_matches(QUERY, [text]).texts()
    [cut] = Reranker(Short()).token_matches("which bird", [text]).texts()
    assert (whole.spans == cut.spans).all()
    assert text[slice(*cut.spans[cut.token[1]])] == "bird"


def test_real_word_pieces_lie_in_their_words(real_reranker):
    query, text = "nightingale song", "The nightingale sings 🎵 after dusk."
    matches = real_reranker.token_matches(query, [text, ""])
    found, blank = matches.texts()
    assert [query[start:end] for start, end in matches.query] == ["nightingale", "song"]
    assert [text[start:end] for start, end in found.spans] == [
        "The",
        "nightingale",
        "sings",
        "🎵",
        "after",
        "dusk",
        ".",
    ]
    assert found.token[0] == 1
    assert not len(blank.spans)


def test_a_token_that_matched_is_told_from_others_of_its_character(real_reranker):
    """The model reads a syllable of Korean as two or three letters, all of which lie at that syllable."""
    [found] = real_reranker.token_matches("한국어 문법 조사", ["한국어는 교착어이며 조사와 어미가 발달하였다"]).texts()
    assert len(np.unique(found.spans[:, 0])) < len(found.spans)
    assert (found.fidelity[found.token] >= found.best).all()


def test_what_is_not_read_in_time_has_no_tokens(reranker):
    late = reranker.token_matches(QUERY, ["a bird sings"], deadline=Deadline.after(0))
    assert [len(found.spans) for found in late.texts()] == [0]
    gone = Deadline()
    gone.cancel()
    with pytest.raises(Cancelled):
        reranker.token_matches(QUERY, ["a bird sings"], deadline=gone)
