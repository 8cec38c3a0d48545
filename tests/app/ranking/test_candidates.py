from dataclasses import astuple

import numpy as np
import pytest

from app.ranking.candidates import FoundPassages, SentDocuments
from retrieval.deadline import Deadline
from retrieval.encoder.chunks import Reading
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.encoder.states import join
from retrieval.index.segment import Segment, build
from retrieval.index.token_rows import pack
from retrieval.states.cache import StateCache
from retrieval.states.source import StateSource
from retrieval.text import limits as text_limits
from retrieval.text.bm25 import QueryTerms, Terms, bm25
from retrieval.text.passages import Passage

NEVER = float("inf")
OWL = QueryTerms.of("owl")


def assert_matches(candidates, *texts: str, query: QueryTerms = OWL, language: str = "auto") -> None:
    """They match the words as these texts do."""
    expected = bm25(query, [Terms.of(text, language) for text in texts])
    for ours, theirs in zip(astuple(candidates.matches(query)), astuple(expected), strict=True):
        np.testing.assert_array_equal(ours, theirs)


class Short(HashEncoder):
    """Reads four words at once."""

    max_tokens = 4


LONG = "one two three four five six seven owl nine ten"  # one two three / four five six seven / owl nine ten
TEXTS = ["dusk owl", LONG, "", "river stone song lamp owl"]
ALL = np.arange(4)


@pytest.fixture
def source() -> StateSource:
    return StateSource(Short(), StateCache(2**20))


def read(candidates, chosen=ALL, query="owl") -> tuple[list[int], list[str]]:
    owners = candidates.split(chosen, QueryTerms.of(query), NEVER)
    chunks = np.arange(len(owners))
    np.testing.assert_array_equal(candidates.encode(chunks, NEVER, Deadline()), chunks)
    return owners.tolist(), [chunk.text for chunk in candidates.chunks]


def test_chunks_come_by_turns_each_documents_most_promising_first(source):
    owners, texts = read(SentDocuments(TEXTS, source), np.array([3, 1, 0, 2]))
    assert owners == [3, 1, 0, 2, 3, 1, 1]
    assert texts[:4] == ["song lamp owl", "owl nine ten", "dusk owl", ""]
    assert texts[4:] == ["river stone ", "one two three ", "four five six seven "]


def test_states_are_those_of_the_chunks_fresh_or_known(source):
    fresh = SentDocuments(TEXTS, source)
    _, texts = read(fresh)
    known = SentDocuments(TEXTS, source)
    expected = Short().encode(texts)
    chunks = np.arange(len(known.split(ALL, OWL, NEVER)))
    np.testing.assert_array_equal(known.encode(chunks, 0.0, Deadline()), chunks)
    for candidates in (fresh, known):
        np.testing.assert_array_equal(np.concatenate(candidates.states(chunks).tokens), expected.tokens)
        np.testing.assert_array_equal(candidates.states(chunks).pooled, expected.pooled)


def test_what_costs_nothing_is_ready(source):
    candidates = SentDocuments(TEXTS, source)
    assert not candidates.ready.any()
    read(candidates)
    assert SentDocuments(TEXTS, source).ready.tolist() == [True, False, True, False]


def test_documents_that_there_is_no_time_to_look_at_are_left_out(source):
    read(SentDocuments(TEXTS, source), ALL[:2])
    candidates = SentDocuments(TEXTS, source)
    assert candidates.split(ALL, OWL, until=0.0).tolist() == [0, 1, 1, 1]


def test_what_is_asked_for_again_is_there_and_the_rest_is_let_go():
    candidates = SentDocuments(["owl", "dusk", "lamp"], StateSource(Short()))
    candidates.split(np.arange(3), OWL, NEVER)
    assert candidates.encode(np.array([0, 1]), NEVER, Deadline()).tolist() == [0, 1]
    assert candidates.encode(np.array([0, 1, 2]), 0.0, Deadline()).tolist() == [0, 1]
    assert candidates.encode(np.array([2]), NEVER, Deadline()).tolist() == [2]
    assert candidates.encode(np.array([0, 2]), 0.0, Deadline()).tolist() == [2]


def test_documents_end_where_reading_does(source):
    candidates = SentDocuments(TEXTS, source, Reading(max_tokens=3))
    assert candidates.texts == ["dusk owl", "one two three ", "", "river stone song "]
    assert_matches(candidates, *candidates.texts)
    assert read(candidates)[1] == ["dusk owl", "one two three ", "", "river stone song "]
    assert SentDocuments(TEXTS, source, Reading(max_tokens=3)).ready.all()


def test_without_time_to_see_where_reading_ends_a_text_stays_as_it_is(source):
    candidates = SentDocuments(TEXTS, source, Reading(max_tokens=3), Deadline(0.0))
    assert candidates.texts == TEXTS
    assert sorted(read(candidates)[1]) == ["", "dusk owl", "one two three ", "river stone song "]


@pytest.fixture
def in_a_hurry(monkeypatch):
    """A document of more than twelve code points is looked at before the deadline only."""
    monkeypatch.setattr(text_limits, "_ALWAYS", 12)


def test_documents_that_there_is_no_time_to_cut_into_terms_have_none_and_are_not_read(source, in_a_hurry):
    candidates = SentDocuments(["dusk owl", LONG, "owl", "dusk owl"], source, deadline=Deadline(0.0))
    assert candidates.late
    assert_matches(candidates, "dusk owl", "", "", "dusk owl")  # a copy needs no time
    assert candidates.split(ALL, OWL, NEVER).tolist() == [0, 3]
    assert not SentDocuments(TEXTS, source).late


def test_what_is_remembered_needs_no_time(source, in_a_hurry):
    read(SentDocuments([TEXTS[0]], source), ALL[:1])
    candidates = SentDocuments([TEXTS[0]] * 4, source, deadline=Deadline(0.0))
    assert not candidates.late
    assert_matches(candidates, *["dusk owl"] * 4)


def test_chunks_that_there_is_no_time_to_cut_into_terms_are_not_read_and_nothing_wrong_is_remembered(source):
    read(SentDocuments([LONG], source), ALL[:1])  # where it is cut
    source.cache = StateCache(2**20)
    candidates = SentDocuments([LONG], source)
    assert candidates.split(ALL[:1], OWL, until=0.0).tolist() == [0, 0, 0]
    assert candidates.encode(np.arange(3), NEVER, Deadline()).tolist() == []
    assert source.cache.counts().entries == 0
    assert candidates.split(ALL[:1], OWL, NEVER).tolist() == [0, 0, 0]
    assert candidates.encode(np.arange(3), NEVER, Deadline()).tolist() == [0, 1, 2]


def test_found_passages_are_as_they_were_stored(tmp_path):
    build(tmp_path / "c", [Passage(str(i), "", text) for i, text in enumerate(TEXTS)], Short(), lambda *_: None)
    segment = Segment(tmp_path / "c")
    found = FoundPassages(np.array([3, 0, 1]), segment, segment.words(OWL))
    owners = found.split(np.array([2, 0]), OWL, until=0.0)
    assert (found.texts, found.ready.all(), owners.tolist()) == ([TEXTS[3], TEXTS[0], LONG], True, [2, 0])
    assert_matches(found, *found.texts)
    sent = SentDocuments(found.texts, StateSource(Short()))
    for name in ("characters", "symbols", "copies"):
        np.testing.assert_array_equal(getattr(found, name), getattr(sent, name))
    assert (found.late, found.truncated) == (False, 0)
    once, twice = (FoundPassages(np.array(at), segment, segment.words(OWL)).matches(OWL) for at in ([0, 3], [3, 0, 3]))
    np.testing.assert_array_equal(twice.scores, once.scores[[1, 0, 1]])
    chunks = found.encode(np.arange(2), 0.0, Deadline())
    expected = join([Short().encode([LONG]), Short().encode([TEXTS[3]])])
    np.testing.assert_array_equal(pack(np.concatenate(found.states(chunks).tokens)), pack(expected.tokens))
