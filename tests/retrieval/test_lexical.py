"""BM25: against bm25s, against the formula by hand, and its laws; the terms it is fed."""

from concurrent.futures import ThreadPoolExecutor

import bm25s
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.lexical import bm25, tokenize
from retrieval.stop_words import STOP_WORDS

TERM = st.sampled_from("abcdef")
DOCUMENTS = st.lists(st.lists(TERM, max_size=12), min_size=1, max_size=12)
QUERY = st.lists(TERM, max_size=6)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("The Nightingale SINGS after dusk.", ["nightingal", "sing", "dusk"]),
        ("C, C++ and a T-cell", ["c", "c", "t", "cell"]),
        ("Don't say it's the dog's, or the dog’s", ["say", "dog", "dog"]),
        ("to be or not to be", ["to", "be", "or", "not", "to", "be"]),
        ("ﬁnding ｆｕｌｌ ЁЖ", ["find", "full", "ёж"]),
        ("", []),
        ("?! --", []),
    ],
)
def test_terms(text: str, terms: list[str]) -> None:
    assert tokenize(text) == terms


def test_stop_words_are_words_as_the_tokenizer_sees_them() -> None:
    for word in STOP_WORDS:
        assert word == word.lower()
        # Kept, and stemmed, for there is nothing else; and dropped beside another word.
        assert len(tokenize(word)) == 1
        assert tokenize(f"{word} sparrow") == ["sparrow"]


@settings(deadline=None)
@given(st.text())
def test_any_text_has_lower_case_terms_without_gaps(text: str) -> None:
    terms = tokenize(text)
    assert all(term and not term.isspace() for term in terms)
    assert tokenize(text) == terms
    assert bool(terms) or not any(c.isascii() and c.isalnum() for c in text)


def test_threads_agree() -> None:
    text = " ".join(f"relation{i} running{i} foxes" for i in range(200))
    with ThreadPoolExecutor(4) as pool:
        assert len({tuple(terms) for terms in pool.map(tokenize, [text] * 16)}) == 1


def test_the_formula_by_hand() -> None:
    documents = [["owl", "owl", "mouse"], ["owl"], ["finch", "wren"]]
    # n = 3, df = 2, mean length 2; the query asks twice for it.
    idf = np.log(1 + 1.5 / 2.5)
    expected = [2 * idf * 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 1.5)), 2 * idf * 2.2 / (1 + 1.2 * (0.25 + 0.375)), 0]
    np.testing.assert_allclose(bm25(["owl", "owl", "heron"], documents), expected, rtol=1e-12)


@settings(deadline=None, max_examples=50)
@given(QUERY.filter(bool), DOCUMENTS.filter(any))
def test_agrees_with_bm25s(query: list[str], documents: list[list[str]]) -> None:
    oracle = bm25s.BM25(method="lucene", k1=1.2, b=0.75, dtype="float64")
    oracle.index(documents, show_progress=False)
    # bm25s has no factor k1 + 1, counts a repeated query term once, and fails on terms it never saw.
    expected = sum(
        (oracle.get_scores([term]) for term in query if any(term in document for document in documents)),
        start=np.zeros(len(documents)),
    )
    np.testing.assert_allclose(bm25(query, documents), 2.2 * expected, rtol=1e-6, atol=1e-12)


@settings(deadline=None)
@given(QUERY, QUERY, DOCUMENTS)
def test_laws(one: list[str], two: list[str], documents: list[list[str]]) -> None:
    scores = bm25(one, documents)
    assert scores.shape == (len(documents),)
    assert scores.dtype == np.float64
    assert np.all(scores >= 0)
    # Additive in the query, blind to order, equal for equal documents, 0 exactly where no term is shared.
    np.testing.assert_allclose(bm25(one + two, documents), scores + bm25(two, documents), rtol=1e-12)
    np.testing.assert_allclose(bm25(one[::-1], documents[::-1])[::-1], scores, rtol=1e-12)
    np.testing.assert_array_equal(scores > 0, [bool(set(one) & set(document)) for document in documents])


@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.0), (1.2, 1.0), (1e-9, 0.75), (1e9, 0.75)])
def test_limits_of_the_parameters_stay_finite(k1: float, b: float) -> None:
    scores = bm25(["owl"], [["owl"], ["owl", "owl", "wren"], []], k1, b)
    assert np.isfinite(scores).all()
    assert scores[2] == 0
    assert scores[:2].min() > 0


def test_nothing_to_score() -> None:
    assert bm25(["owl"], []).shape == (0,)
    np.testing.assert_array_equal(bm25([], [["owl"], []]), [0, 0])
    np.testing.assert_array_equal(bm25(["owl"], [[], []]), [0, 0])


@pytest.mark.parametrize(("k1", "b"), [(0.0, 0.5), (-1.0, 0.5), (1.2, -0.1), (1.2, 1.1), (float("nan"), 0.5)])
def test_refuses_other_parameters(k1: float, b: float) -> None:
    with pytest.raises(ValueError, match="BM25 needs"):
        bm25(["owl"], [["owl"]], k1, b)
