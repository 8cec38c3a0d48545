"""BM25 against bm25s and a hand-computed example, its mathematical properties, and its terms."""

import gc
import sys
import tracemalloc
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, islice

import bm25s
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.text import bm25 as lexical
from retrieval.text.bm25 import STOP_WORDS, bm25, stream_safe, terms_of, tokenize

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
        # Alone it is kept and stemmed; next to another word it is dropped.
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
    # n = 3, df = 2, mean length 2; the term occurs twice in the query.
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
    # Additive in the query, independent of order, and 0 exactly for documents without a query term.
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


# Texts that are not natural language

MARK = st.sampled_from("\u0301\u0316\u0334\u0345\u0344\u0f73\u0f75\u0f81\u0f71\uff9e\uff9f\u3099\u05b0\U0001d165")
OTHER = st.sampled_from("eaがﾊ가각ᄀ9 ﬁ\u034f\u200d\ufdfa") | st.characters()
SHORT_RUNS = st.lists(st.tuples(OTHER, st.lists(MARK, max_size=30).map("".join)).map("".join)).map("".join)
LONG_RUNS = st.lists(st.tuples(OTHER, st.lists(MARK, max_size=80).map("".join)).map("".join)).map("".join)


def non_starters(text: str) -> list[bool]:
    """For each character, whether its full decomposition begins with a non-starter, as the standard defines it."""
    return [unicodedata.combining(unicodedata.normalize("NFKD", one)[0]) > 0 for one in text]


def longest_run(text: str) -> int:
    return max((len(list(run)) for marks, run in groupby(non_starters(text)) if marks), default=0)


def test_every_character_that_normalising_may_move_is_known():
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    assert lexical._MARKS.tolist() == non_starters(everything)


@given(SHORT_RUNS.filter(lambda text: longest_run(text) <= 30))
def test_text_without_long_runs_of_marks_stays_as_it_is(text):
    assert stream_safe(text) == text


@given(LONG_RUNS)
def test_of_a_long_run_of_marks_the_first_thirty_are_kept(text):
    runs = groupby(zip(text, non_starters(text), strict=True), lambda pair: pair[1])
    kept = "".join(one for marks, run in runs for one, _ in islice(run, 30 if marks else None))
    assert stream_safe(text) == kept
    assert tokenize(kept) == tokenize(text)
    decomposed = [unicodedata.combining(one) > 0 for one in unicodedata.normalize("NFKD", kept)]
    assert max((len(list(run)) for marks, run in groupby(decomposed) if marks), default=0) <= 2 * 30 + 3


def test_long_words_are_not_stemmed_nor_remembered():
    lexical._stem.cache_clear()
    word = "nightingale" * 5 + "warblings"
    assert tokenize(f"{word} {word}s") == [word[:-4], word + "s"]
    assert lexical._stem.cache_info().currsize == 1


def test_one_character_may_become_many_but_a_page_of_them_no_book():
    assert len(tokenize("\ufdfa")) == 4
    assert len(terms_of("\ufdfa" * 5000)) <= 4 * 5000


def peak(work) -> int:
    """Return the peak of Python's memory in bytes while `work` runs."""
    gc.collect()
    tracemalloc.start()
    work()
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak_bytes


def test_stems_of_all_threads_together_take_some_megabytes():
    alphabet = "𐐨𐐩𐐪𐐫"  # four bytes each; distinct words of the maximal length

    def work() -> None:
        for number in range(3 * lexical._STEMS):
            lexical._stem("".join(alphabet[number >> 2 * digit & 3] for digit in range(9)) + alphabet[0] * 55)

    lexical._stem.cache_clear()
    work_peak = peak(lambda: ThreadPoolExecutor(1).submit(work).result())
    assert lexical._stem.cache_info().currsize == lexical._STEMS
    assert work_peak < 20 * 2**20
    lexical._stem.cache_clear()


def test_the_terms_of_one_document_are_held_at_a_time():
    few, many = (peak(lambda: bm25(["owl", "a"], (["a"] * 2000 for _ in range(n)))) for n in (300, 1200))  # noqa: B023
    assert many < few + 2**18 < 2**23


def test_a_query_of_many_terms_is_scored_in_blocks():
    query = [str(term) for term in range(3000)]
    few, many = (peak(lambda: bm25(query, ([str(at)] for at in range(n)))) for n in (1000, 4000))  # noqa: B023
    assert many < few + 2**21 < 2**26


@given(st.lists(TERM, min_size=1, max_size=6), DOCUMENTS.filter(any), st.integers(1, 40), st.integers(0, 9))
def test_blocks_change_nothing(query, documents, cells, counted):
    whole = bm25(query, documents * 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexical, "_CELLS", cells)
        patch.setattr(lexical, "_MAX_PENDING", counted)
        np.testing.assert_allclose(bm25(query, iter(documents * 4)), whole, rtol=1e-14)


@given(QUERY, DOCUMENTS)
def test_scores_are_those_of_the_whole_matrix_at_once_to_the_last_bit(query, documents):
    terms = dict.fromkeys(query)
    tf = np.array([[document.count(term) for term in terms] for document in documents])
    if not tf.any():
        return
    df, length = np.count_nonzero(tf, axis=0), np.array([len(document) for document in documents], dtype=np.float64)
    idf = np.log1p((len(documents) - df + 0.5) / (df + 0.5)) * [query.count(term) for term in terms]
    damping = 1.2 * (1 - 0.75 + 0.75 * length / length.mean())
    assert bm25(query, documents).tolist() == (tf * (1.2 + 1) / (tf + damping[:, None]) @ idf).tolist()
