"""A sentence scores as a document that had no other tokens; the weight-free encoder's tokens know no context."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ranking.candidates import Chunk
from app.ranking.reranker import Reranker, Span
from app.ranking.spans import SentenceScores
from quantum.maxsim import score_documents
from retrieval.deadline import Cancelled, Deadline
from retrieval.encoder.chunks import Reading
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.encoder.states import ScatteredStates
from retrieval.states.cache import StateCache
from retrieval.states.source import StateSource
from retrieval.text import limits as text_limits
from retrieval.text.sentences import sentences

QUERY = "which bird sings at night"
TEXTS = [
    "Owls hunt mice. The nightingale is a bird that sings at night! It is small.\n\nStock prices fell.",
    "",
    "  ...  !  ",
    "The bird sings at night.",
    "The nightingale sings; it is a bird. At night it sings",
]
SENTENCES = st.lists(st.sampled_from("owl bird sings night which river . ! \n 。 …".split(" ")), max_size=40)


class Short(HashEncoder):
    """Reads eight words at once."""

    max_tokens = 8


def fidelity(reranker: Reranker, texts: list[str], **options) -> np.ndarray:
    return reranker.rerank(QUERY, texts, method="quantum", **options).rankers["quantum"]


def close(value: float):
    return pytest.approx(value, abs=1e-5)


@given(SENTENCES.map(" ".join))
def test_a_sentence_scores_as_a_document_of_its_own(text):
    reranker = Reranker(HashEncoder())
    (found,) = reranker.relevant_spans(QUERY, [text], threshold=0)
    expected = {span: text[slice(*span)] for span in sentences(text)}
    expected = {span: piece for span, piece in expected.items() if any(map(str.isalnum, piece))}
    assert {(span.start, span.end) for span in found} == expected.keys()
    assert all(span.score == close(fidelity(reranker, [expected[span.start, span.end]])[0]) for span in found)
    assert found == sorted(found, key=lambda span: (-span.score, span.start))


@given(
    st.lists(SENTENCES.map(" ".join), max_size=5), st.builds(Reading, st.none() | st.integers(1, 30), st.integers(1, 4))
)
def test_no_sentence_scores_higher_than_its_document_however_it_is_cut(texts, reading):
    reranker = Reranker(Short())
    found = reranker.relevant_spans(QUERY, texts, threshold=0, reading=reading)
    assert len(found) == len(texts)
    documents = fidelity(reranker, texts, reading=reading) if texts else []
    for text, spans, document in zip(texts, found, documents, strict=True):
        assert all(0 <= span.score <= document + 1e-6 for span in spans)
        assert all(text[span.start : span.end].strip() == text[span.start : span.end] != "" for span in spans)


def test_sentences_are_scored_in_the_context_of_their_document(real_reranker, real_encoder):
    found = real_reranker.relevant_spans(QUERY, TEXTS, threshold=0)
    documents = fidelity(real_reranker, TEXTS)
    assert [len(spans) for spans in found] == [4, 0, 2, 1, 2]
    best = found[0][0]
    assert TEXTS[0][best.start : best.end] == "The nightingale is a bird that sings at night!"
    assert found[3] == [Span(0, len(TEXTS[3]), close(documents[3]))]
    (spans,), states = real_encoder.token_spans([TEXTS[0]]), real_encoder.encode([TEXTS[0]])
    inside = (spans[:, 0] >= best.start) & (spans[:, 1] <= best.end)
    query = real_encoder.encode([QUERY], "query").tokens
    expected = score_documents(real_reranker.feature_map, query, states.tokens[inside], np.array([0, inside.sum()]))
    assert best.score == close(expected[0])


def test_only_the_best_above_the_threshold_are_given(real_reranker):
    everything = real_reranker.relevant_spans(QUERY, TEXTS, threshold=0)
    some = real_reranker.relevant_spans(QUERY, TEXTS, threshold=0.2)
    assert some == [[span for span in spans if span.score >= 0.2] for spans in everything]
    assert 0 < len(some[0]) < len(everything[0])
    assert real_reranker.relevant_spans(QUERY, TEXTS, most=1)[0] == some[0][:1]


def test_ties_are_broken_by_position():
    (found,) = Reranker(HashEncoder()).relevant_spans("owl", ["an owl. owl. owl! dusk. owl"], threshold=0.5)
    assert [span.start for span in found] == [0, 8, 13, 24]


def test_a_long_text_has_spans_as_far_as_it_is_read():
    text = " ".join(f"Owl{i} sings at night." for i in range(40))
    reranker = Reranker(Short())
    (found,) = reranker.relevant_spans("sings", [text], threshold=0.5)
    assert sorted((span.start, span.end) for span in found)[:32] == sentences(text)[:32]
    assert len(found) <= 33  # sixteen chunks of eight words
    (found,) = reranker.relevant_spans("sings", [text], threshold=0.5, reading=Reading(max_tokens=10))
    assert [text[span.start : span.end] for span in found] == [
        "Owl0 sings at night.",
        "Owl1 sings at night.",
        "Owl2 sings",
    ]
    assert (found, reranker.relevant_spans("sings", [])) == (found, [])


def test_states_that_were_just_ranked_are_not_encoded_again():
    reranker = Reranker(StateSource(Short(), StateCache(2**20)))
    reranker.rerank(QUERY, TEXTS)
    before = reranker.source.shared_encoder.counts().texts
    reranker.relevant_spans(QUERY, TEXTS)
    assert reranker.source.shared_encoder.counts().texts == before


def test_what_the_deadline_left_unread_has_no_spans():
    reranker = Reranker(StateSource(Short(), StateCache(2**20)))
    assert reranker.relevant_spans("bird", TEXTS, deadline=Deadline(0.0)) == [[]] * len(TEXTS)
    reranker.rerank("bird", TEXTS[3:4])
    late = reranker.relevant_spans("bird", TEXTS, deadline=Deadline(0.0))
    assert [len(spans) for spans in late] == [0, 0, 0, 1, 0]
    gone = Deadline()
    gone.cancel()
    with pytest.raises(Cancelled):
        reranker.relevant_spans("bird", TEXTS, deadline=gone)


def test_there_are_no_spans_of_what_comes_too_late(monkeypatch):
    reranker = Reranker(StateSource(HashEncoder(), StateCache(2**20)))
    texts = ["The owl sings."] * 3
    reranker.rerank(QUERY, texts)
    monkeypatch.setattr(text_limits, "_ALWAYS", 2 * len(texts[0]))
    for deadline, counts in ((Deadline(0.0), [1, 1, 0]), (Deadline.after(60), [1, 1, 1])):
        found = reranker.relevant_spans(QUERY, texts, threshold=0, deadline=deadline)
        assert [len(spans) for spans in found] == counts


def test_chunks_that_come_too_late_have_no_spans(monkeypatch):
    reranker = Reranker(StateSource(Short(), StateCache(2**20)))
    text = "The owl sings in the old tower. " * 3  # a chunk each
    reranker.rerank("owl", [text])
    question = reranker.source.encode_query(["owl"], math.inf, Deadline())
    chunks = [Chunk(0, at, text[at : at + 32], "") for at in (0, 32, 64)]
    states = reranker.encoder.encode([chunk.text for chunk in chunks])
    scores = SentenceScores([text], Short(), reranker.feature_map, question, until=0.0)
    monkeypatch.setattr(scores._time_left, "_free", 2 * 32)
    scores.add(chunks, ScatteredStates.of([states]))
    assert [span.start for span in scores.spans(0, None)[0]] == [0, 32]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"query": " "}, "must not be empty"), ({"threshold": 1.5}, "lies in"), ({"most": 0}, "at least 1 span")],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Reranker(HashEncoder()).relevant_spans(**({"query": "owl", "texts": TEXTS} | arguments))
