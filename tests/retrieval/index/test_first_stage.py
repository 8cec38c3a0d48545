"""Candidates of documents: each document comes once for each ranking, as deep as it must be looked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.fusion import reciprocal_rank
from retrieval.index.first_stage import BOTH, BY_NAME
from retrieval.index.segment import Segment, build
from retrieval.text.bm25 import QueryTerms
from retrieval.text.passages import Passage

ENCODER = HashEncoder()
DOCUMENTS = {"a": 40, "b": 1, "c": 7, "d": 1, "e": 2}  # passages of each
PASSAGES = [
    Passage(name, "", f"owl {'dusk ' * (at % 3)}{name} {at}", (at, at + 1))
    for name, count in DOCUMENTS.items()
    for at in range(count)
]


@pytest.fixture(scope="module")
def segment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grouped") / "c"
    build(folder, PASSAGES, ENCODER, lambda *_: None, "en")
    return Segment(folder)


@given(
    query=st.sampled_from(["owl", "dusk a", "owl dusk", "c 3", "absent"]),
    k=st.integers(1, 6),
    stage=st.sampled_from(list(BY_NAME)),
    leave_out=st.none() | st.integers(0, 4),
)
def test_grouped_candidates_are_those_of_an_exhaustive_search(segment, query, k, stage, leave_out):
    vector, words = ENCODER.encode([query]).pooled[0], segment.words(QueryTerms.of(query, "en"))
    found = BY_NAME[stage].search(segment, vector, words, k, leave_out, grouped=True)
    owners = segment.owners(found).tolist()
    assert leave_out not in owners
    everything = {"dense": segment.nearest(vector, 100), "lexical": words.best(100)}
    best = {}
    for name, positions in everything.items():
        for position, owner in zip(positions.tolist(), segment.owners(positions).tolist(), strict=True):
            if stage in {name, "both"} and owner != leave_out:
                best.setdefault(owner, {}).setdefault(name, position)
    assert len(set(owners)) == min(k, len(best))
    for position, owner in zip(found.tolist(), owners, strict=True):
        assert position in best[owner].values()
    assert len(set(found.tolist())) == len(found)


def test_without_grouping_a_document_has_as_many_candidates_as_match(segment):
    vector, words = ENCODER.encode(["owl a"]).pooled[0], segment.words(QueryTerms.of("owl a", "en"))
    assert np.bincount(segment.owners(BOTH.search(segment, vector, words, 50)), minlength=5)[0] == 40
    assert not np.isin(segment.owners(BOTH.search(segment, vector, words, 50, leave_out=0)), 0).any()


def test_by_words_what_is_nearest_fills_up_the_rest(segment):
    vector, words = ENCODER.encode(["dusk"]).pooled[0], segment.words(QueryTerms.of("dusk", "en"))
    by_words = words.best(100)
    found = BOTH.by_words().search(segment, vector, words, len(by_words) + 3)
    assert sorted(found[: len(by_words)].tolist()) == sorted(by_words.tolist())
    assert len(found) == len(by_words) + 3
    assert BY_NAME["dense"].by_words() == BY_NAME["dense"]
    assert BY_NAME["lexical"].by_words() == BY_NAME["lexical"]


def test_by_words_the_last_of_a_thousand_stands_before_the_nearest():
    weights, words, nearest = BOTH.by_words(), np.arange(1000), np.arange(1000, 2000)
    found = reciprocal_rank([nearest, words], [weights.dense, weights.lexical])
    np.testing.assert_array_equal(found, np.arange(2000))
