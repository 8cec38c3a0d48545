"""BM25 against bm25s and a hand-computed example, its mathematical properties, and its background statistics."""

import gc
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.text import bm25 as lexical
from retrieval.text import languages
from retrieval.text.bm25 import NO_TERMS, QueryTerms, Terms, bm25
from retrieval.text.languages import NONE
from retrieval.text.words import words_of

WORDS = ("aardvark", "babirusa", "capybara", "dugong", "echidna", "fossa")  # rare in all languages
TERM = st.sampled_from(WORDS)
DOCUMENTS = st.lists(st.lists(TERM, max_size=12), min_size=1, max_size=12)
QUERY = st.lists(TERM, max_size=6)


def query_of(words: list[str]) -> QueryTerms:
    return QueryTerms.of(" ".join(words), NONE)


def documents_of(documents: list[list[str]]) -> list[Terms]:
    return [Terms.of(" ".join(document), NONE) for document in documents]


def scores_of(query: list[str], documents: list[list[str]]) -> np.ndarray:
    return bm25(query_of(query), documents_of(documents)).scores


@pytest.fixture
def alone(monkeypatch):
    """Statistics of the documents alone."""
    monkeypatch.setattr(lexical, "_IMAGINED", 0)


def test_the_formula_by_hand(alone):
    documents = [["aardvark", "aardvark", "dugong"], ["aardvark"], ["fossa", "echidna"]]
    # n = 3, df = 2, mean length 2; the term occurs twice in the query.
    idf = np.log(1 + 1.5 / 2.5)
    expected = [2 * idf * 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 1.5)), 2 * idf * 2.2 / (1 + 1.2 * (0.25 + 0.375)), 0]
    np.testing.assert_allclose(scores_of(["aardvark", "aardvark", "babirusa"], documents), expected, rtol=1e-12)


def test_the_background_by_hand():
    # 100 passages of 150 words are imagined beside the documents, with each word as often as in English.
    documents = documents_of([["the"], ["dugong"]])
    query = QueryTerms.of("the dugong", "en")
    assert query.words == ["dugong"]  # "the" is too common beside another word
    frequency = lexical.frequencies(lexical.terms(query.words, NONE), "en")
    df = 1 + 100 * (1 - np.exp(-150 * frequency))
    idf = np.log(1 + (102 - df + 0.5) / (df + 0.5))
    np.testing.assert_allclose(bm25(query, documents).scores, [0, idf[0] * 2.2 / 2.2], rtol=1e-9)


@settings(deadline=None, max_examples=50)
@given(QUERY.filter(bool), DOCUMENTS.filter(any))
def test_agrees_with_bm25s(query, documents):
    import bm25s  # see tests/retrieval/evaluation/test_significance.py

    oracle = bm25s.BM25(method="lucene", k1=1.2, b=0.75, dtype="float64")
    oracle.index(documents, show_progress=False)
    # bm25s has no factor k1 + 1, counts a repeated query term once, and fails on terms it never saw.
    expected = sum(
        (oracle.get_scores([term]) for term in query if any(term in document for document in documents)),
        start=np.zeros(len(documents)),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexical, "_IMAGINED", 0)
        np.testing.assert_allclose(scores_of(query, documents), 2.2 * expected, rtol=1e-6, atol=1e-12)


@settings(deadline=None)
@given(QUERY, QUERY, DOCUMENTS)
def test_laws(one, two, documents):
    matches = bm25(query_of(one), documents_of(documents))
    assert matches.scores.shape == matches.coverage.shape == (len(documents),)
    assert np.all(matches.scores >= 0)
    assert np.all((matches.coverage >= 0) & (matches.coverage <= 1))
    # Additive in the query, independent of order, and 0 exactly for documents without a query term.
    np.testing.assert_allclose(scores_of(one + two, documents), matches.scores + scores_of(two, documents), rtol=1e-12)
    np.testing.assert_allclose(scores_of(one[::-1], documents[::-1])[::-1], matches.scores, rtol=1e-12)
    holds = [bool(set(one) & set(document)) for document in documents]
    np.testing.assert_array_equal(matches.scores > 0, holds)
    np.testing.assert_array_equal(matches.coverage > 0, holds)


@settings(deadline=None)
@given(QUERY.filter(bool), DOCUMENTS, DOCUMENTS)
def test_coverage_does_not_depend_on_the_other_documents(query, documents, others):
    whole = bm25(query_of(query), documents_of(documents + others)).coverage
    np.testing.assert_allclose(whole[: len(documents)], bm25(query_of(query), documents_of(documents)).coverage, 1e-12)


def test_coverage_is_the_share_of_the_words_by_rarity():
    query = QueryTerms.of("people dugong", "en")
    documents = documents_of([["people", "dugong"], ["dugong"], ["people"], ["x"]])
    both, rare, common, none = bm25(query, documents).coverage
    np.testing.assert_allclose([both, none, rare + common], [1, 0, 1], atol=1e-12)
    assert rare > 2 * common


@pytest.mark.parametrize("query", ["night lamp", "owl bird lamp", "owl bird song market"])
def test_no_document_holds_more_than_all_words(query):
    """The weights of these words add up to a little over 1."""
    assert bm25(QueryTerms.of(query, "en"), [Terms.of(query, "en")]).coverage[0] == 1


def test_nothing_to_score():
    assert scores_of(["fossa"], []).shape == (0,)
    for query, documents in (([], [["fossa"], []]), (["fossa"], [[], []]), ([], [])):
        matches = bm25(query_of(query), documents_of(documents))
        assert not matches.scores.any()
        assert not matches.coverage.any()


def test_a_query_of_common_words_alone_matches_documents_that_hold_them():
    query = QueryTerms.of("to be or not to be")
    assert sorted(query.words) == ["be", "not", "or", "to"]
    hamlet, other = bm25(
        query, [Terms.of("To be or not to be, that is the question."), Terms.of("Owls hunt mice.")]
    ).scores
    assert hamlet > other == 0


@pytest.mark.parametrize(
    ("query", "match", "other"),
    [
        ("which bird sings", "A singing bird was heard in the night.", "The stock market fell in the night."),
        ("Häuser in der Stadt", "Das Haus steht in der Mitte der Stadt.", "Der Zug fährt in die Berge und kommt an."),
        ("chanteuses célèbres", "La chanteuse la plus célèbre de la ville.", "Le train est arrivé dans la gare."),
        ("песни о любви", "Эта песня была написана о любви.", "Поезд прибыл на станцию вовремя."),
        ("東京の天気", "明日の東京の天気は晴れでしょう。", "大阪の電車は遅れています。"),
        ("自然语言", "我们研究的是自然语言处理的问题。", "今天的火车晚点了。"),
        ("ภาษาไทย", "ผมเรียนภาษาไทยทุกวัน", "รถไฟมาช้าวันนี้"),
        ("getUserName", "def getUserName(self): return self.name", "def close(self): return self.file.close()"),
        ("user name", "def getUserName(self): return self.id", "def close(self): return self.file.close()"),
    ],
)
def test_documents_are_found_in_their_language(query, match, other):
    scores = bm25(QueryTerms.of(query), [Terms.of(other), Terms.of(match)]).scores
    assert scores[1] > scores[0]


def test_each_document_is_read_in_its_own_language():
    documents = [Terms.of("Die Häuser stehen in der Stadt."), Terms.of("The houses stand in the town."), NO_TERMS]
    assert [each.language for each in documents] == ["de", "en", NONE]
    scores = bm25(QueryTerms.of("Haus house", NONE), documents).scores
    assert scores[0] > 0 < scores[1]
    assert scores[2] == 0


def test_words_of_one_stem_count_together():
    assert QueryTerms.of("dugongs and a dugong", "en").words == ["dugongs"]
    assert QueryTerms.of("dugongs and a dugong", "en").repeats.tolist() == [2]


@pytest.mark.parametrize("length", [1, 300])
def test_a_query_in_no_known_language_is_refused(length):
    with pytest.raises(ValueError, match="code of a known language"):
        QueryTerms.of("owl " * length, "klingon")


def test_the_terms_of_a_short_query_are_found_once():
    assert QueryTerms.of("singing owls") is QueryTerms.of("singing owls")
    assert QueryTerms.of("singing owls", "en") is not QueryTerms.of("singing owls", "de")
    assert QueryTerms.of("owl " * 300) is not QueryTerms.of("owl " * 300)


SENTENCES = ["", "Die Häuser stehen in der Stadt.", "The houses stand in the town.", "owl " * 1200, "東京の家"]
SPOKEN = st.sampled_from(["the", "house", "Häuser", "und", "der", "singing", "CVE-2021"])
MIXED = st.one_of(st.text(), st.sampled_from(SENTENCES), st.lists(SPOKEN, max_size=20).map(" ".join))


@given(st.lists(MIXED, max_size=8), st.sampled_from(["auto", "none", "en", "de", "zh"]))
def test_terms_of_several_texts_are_those_of_each(texts, language):
    together = Terms.of_each(texts, language)
    for text, terms in zip(texts, together, strict=True):
        numbers = languages.terms(words_of(text), NONE)
        own = languages.detect(numbers) if language == "auto" else language
        assert terms.language == Terms.of(text, language).language == own
        np.testing.assert_array_equal(terms.numbers, languages.terms(words_of(text), own))
        assert terms.numbers.base is None  # what is kept of one text keeps no other one


@given(st.text(), st.sampled_from(["auto", "none", "en", "de", "zh"]))
def test_terms_survive_being_stored(text, language):
    terms = Terms.of(text, language)
    again = Terms.from_bytes(terms.to_bytes())
    assert again.language == terms.language
    assert again.numbers.tobytes() == terms.numbers.tobytes()


@pytest.mark.parametrize("damaged", [b"en\0\0abc", b"\xff\xff\xff\xff"])
def test_damaged_terms_are_refused(damaged):
    with pytest.raises(ValueError):
        Terms.from_bytes(damaged)


def peak(work) -> int:
    """Return the peak of Python's memory in bytes while `work` runs."""
    gc.collect()
    tracemalloc.start()
    work()
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak_bytes


def test_a_query_of_many_terms_is_scored_in_blocks():
    query = query_of([f"word{term}" for term in range(3000)])
    few, many = (
        peak(lambda: bm25(query, documents_of([[f"word{at}"] for at in range(n)])))  # noqa: B023
        for n in (500, 2000)
    )
    assert many < few + 2**21 < 2**26


@given(st.lists(TERM, min_size=1, max_size=6), DOCUMENTS.filter(any), st.integers(1, 40))
def test_blocks_change_nothing(query, documents, cells):
    whole = scores_of(query, documents * 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexical, "_CELLS", cells)
        np.testing.assert_allclose(scores_of(query, documents * 4), whole, rtol=1e-14)


@pytest.mark.parametrize("language", ["", "xx", "english", "EN", "de-DE"])
@pytest.mark.parametrize("text", ["owl", "!!!", "", "owl " * 200])
@pytest.mark.parametrize("of", [Terms.of, QueryTerms.of])
def test_words_of_no_known_language_are_refused_and_not_left_unstemmed(of, text, language):
    with pytest.raises(ValueError, match="known language"):
        of(text, language)
