"""The inverted index: the scores of BM25 over all passages, for every script of its contents and every damage."""

import os
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.errors import CollectionError
from retrieval.fusion import ranking
from retrieval.index.checksums import write_checksums
from retrieval.index.first_stage import BY_NAME, FirstStage
from retrieval.index.integrity import verify
from retrieval.index.segment import Segment, build
from retrieval.text.bm25 import QueryTerms, Terms, bm25
from retrieval.text.passages import Passage

WORDS = ("owl", "the", "rivers", "singing", "Häuser", "東京の夜", "camelCase", "2024")
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join), min_size=1, max_size=20)


def search_in(segment: Segment, query: QueryTerms, k: int):
    return segment.words(query).search(k)


def opened(folder, texts, language="auto"):
    shutil.rmtree(folder, ignore_errors=True)
    build(
        folder, [Passage(str(at), "", text) for at, text in enumerate(texts)], HashEncoder(), lambda *_: None, language
    )
    return Segment(folder)


@settings(max_examples=30, deadline=None)
@given(
    texts=TEXTS,
    query=st.lists(st.sampled_from((*WORDS, "absent")), min_size=1, max_size=5).map(" ".join),
    k=st.integers(1, 25),
)
def test_scores_are_those_of_bm25_over_all_passages(tmp_path_factory, texts, query, k):
    collection = opened(tmp_path_factory.getbasetemp() / "postings", texts)
    positions, scores = search_in(collection, QueryTerms.of(query), k)
    words = bm25(QueryTerms.of(query), [Terms.of(text) for text in texts])
    matches = collection.words(QueryTerms.of(query)).matches(np.arange(len(texts)))
    np.testing.assert_array_equal([matches.scores, matches.coverage], [words.scores, words.coverage])
    expected = words.scores
    best = ranking(expected)[: min(k, np.count_nonzero(expected))]
    np.testing.assert_allclose(scores, expected[positions], rtol=1e-12)
    np.testing.assert_allclose(scores, expected[best], rtol=1e-12)
    assert len(set(positions.tolist())) == len(positions) == len(best)


def test_each_passage_is_stemmed_in_its_own_language(tmp_path):
    german = "Die Nachtigallen singen am Abend in den Gärten der Stadt"
    english = "The nightingales are singing in the gardens of the city at night"
    collection = opened(tmp_path / "both", [german, english, "1234 5678"])
    assert collection.spec.languages == {"de": 1, "en": 1, "none": 1}
    for query, found in (("Nachtigall", [0]), ("nightingale", [1]), ("5678", [2]), ("absent", [])):
        assert search_in(collection, QueryTerms.of(query), 3)[0].tolist() == found


def test_ties_come_in_the_order_of_the_passages(tmp_path):
    collection = opened(tmp_path / "same", ["an owl"] * 9)
    assert search_in(collection, QueryTerms.of("owl"), 4)[0].tolist() == [0, 1, 2, 3]


def test_a_term_that_fills_a_passage_is_counted_up_to_a_limit(tmp_path):
    collection = opened(tmp_path / "full", ["owl " * 70_000, "owl", "lamp"])
    positions, scores = search_in(collection, QueryTerms.of("owl"), 3)
    assert sorted(positions.tolist()) == [0, 1]
    assert np.isfinite(scores).all()


@pytest.fixture
def birds(tmp_path):
    return opened(tmp_path / "birds", [f"{word} {at}" for at, word in enumerate(WORDS)])


@pytest.mark.parametrize("name", ["postings.bin", "postings_keys.npy", "postings_starts.npy", "postings_languages.npy"])
@pytest.mark.parametrize("damage", ["removed", "empty", "cut"])
def test_a_damaged_file_is_an_error_that_says_what_to_do(birds, tmp_path, name, damage):
    path = tmp_path / "birds" / name
    if damage == "removed":
        path.unlink()
    else:
        os.truncate(path, 0 if damage == "empty" else path.stat().st_size - 5)
    try:
        fault = verify(Segment(path.parent)).fault
    except CollectionError as error:
        fault = str(error)
    assert fault
    assert "postings" in fault


def test_a_file_that_is_cut_while_it_is_open_is_an_error(birds, tmp_path):
    os.truncate(tmp_path / "birds" / "postings.bin", 3)
    with pytest.raises(CollectionError, match=r"postings.bin was cut short"):
        search_in(birds, QueryTerms.of("owl"), 3)


def test_passages_that_do_not_exist_are_an_error(birds, tmp_path):
    path = tmp_path / "birds" / "postings.bin"
    path.write_bytes(b"\xff\xff\xff\x7f\x01\x00" * (path.stat().st_size // 6))
    with pytest.raises(CollectionError, match="passages that do not exist"):
        search_in(birds, QueryTerms.of("owl"), 3)


def test_an_index_of_other_passages_is_noticed(birds, tmp_path):
    opened(tmp_path / "others", [f"{word} {at + 20}" for at, word in enumerate(WORDS)])
    for file in (tmp_path / "others").glob("postings*"):
        shutil.copy(file, tmp_path / "birds")
    write_checksums(tmp_path / "birds")
    assert "lacks" in str(verify(Segment(tmp_path / "birds")).fault)


def vector(text: str) -> np.ndarray:
    return HashEncoder().encode([text]).pooled[0]


def test_candidates_come_from_both_rankings(tmp_path):
    collection = opened(tmp_path / "birds", ["an owl at dusk", "a lamp", "an owl", "market prices"])
    owl, absent = (collection.words(QueryTerms.of(word)) for word in ("owl", "absent"))
    by = {name: stage.search(collection, vector("a lamp"), owl, 2).tolist() for name, stage in BY_NAME.items()}
    assert by["dense"][0] == 1
    assert sorted(by["lexical"]) == [0, 2]
    assert len(by["both"]) == 2
    assert BY_NAME["lexical"].search(collection, vector("a lamp"), absent, 2).tolist() == []
    assert FirstStage(dense=9, lexical=1).search(collection, vector("a lamp"), owl, 1).tolist() == [1]


@pytest.mark.parametrize("weights", [(0, 0), (-1, 1), (float("nan"), 1), (float("inf"), 1)])
def test_weights_that_say_nothing_are_refused(weights):
    with pytest.raises(ValueError, match="weights are at least 0"):
        FirstStage(*weights)
