"""The laws of similarity: each pair for itself, and what it should be."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import app.service.similarity
from app.errors import TooLate
from app.ranking.reranker import Reranker
from app.service.similarity import circuit_of, compare
from quantum.feature_maps import feature_map
from quantum.gates import check_limits
from retrieval.deadline import Cancelled, Deadline
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.states.cache import StateCache
from retrieval.states.source import StateSource

METHODS = ("classical", "quantum", "hybrid")
text = st.lists(st.sampled_from("an owl song market prices fell at night".split()), min_size=1, max_size=6).map(
    " ".join
)
texts = st.lists(text, min_size=1, max_size=5)


@given(text)
def test_a_text_answers_itself_wholly(reranker, one):
    found = compare(reranker, [one], [one])
    for method in ("classical", "quantum"):
        assert found.of(method)[0, 0] == pytest.approx(1, abs=1e-6)
    assert found.of("hybrid")[0, 0] > 0.9


@given(texts, texts)
def test_scores_are_what_their_definitions_say(reranker, queries, documents):
    found = compare(reranker, queries, documents)
    asked, there = reranker.encoder.encode(queries, "query"), reranker.encoder.encode(documents)
    cosines = asked.pooled @ there.pooled.T
    fidelities = np.array(
        [
            [
                reranker.feature_map.fidelity(asked.take([i]).token_rows(), there.take([j]).token_rows()).max(1).mean()
                for j in range(len(documents))
            ]
            for i in range(len(queries))
        ]
    )
    assert found.rankers["classical"] == pytest.approx(cosines, abs=1e-6)
    assert found.of("classical") == pytest.approx((1 + cosines) / 2, abs=1e-6)
    assert found.of("quantum") == pytest.approx(fidelities, abs=1e-5)
    for method in METHODS:
        assert np.all((found.of(method) >= 0) & (found.of(method) <= 1))


@given(text, texts)
def test_scores_are_those_that_a_rerank_explains(reranker, query, documents):
    found, ranked = compare(reranker, [query], documents), reranker.rerank(query, documents)
    for name in ("classical", "quantum"):
        assert found.rankers[name][0] == pytest.approx(ranked.rankers[name], abs=1e-6)
    for at, document in enumerate(documents):
        assert found.of("hybrid")[0, at] == pytest.approx(reranker.rerank(query, [document]).scores[0], abs=1e-6)


@settings(max_examples=40)
@given(texts, texts)
def test_a_pair_does_not_depend_on_the_others(reranker, queries, documents):
    together = compare(reranker, queries, documents)
    for i, query in enumerate(queries):
        for j, document in enumerate(documents):
            alone = compare(reranker, [query], [document])
            for method in METHODS:
                assert together.of(method)[i, j] == pytest.approx(alone.of(method)[0, 0], abs=1e-6)


@given(text, texts, st.randoms())
def test_equal_documents_are_equal_to_the_last_bit(reranker, query, documents, random):
    twice = documents * 2
    random.shuffle(twice)
    scores = compare(reranker, [query], twice).of("hybrid")[0]
    by_text = {}
    for document, score in zip(twice, scores.tolist(), strict=True):
        assert by_text.setdefault(document, score) == score


def test_the_query_is_not_the_document(reranker):
    there = compare(reranker, ["owl"], ["an owl song"]).of("quantum")[0, 0]
    back = compare(reranker, ["an owl song"], ["owl"]).of("quantum")[0, 0]
    assert there == pytest.approx(1, abs=1e-6)
    assert back < 0.6


def test_the_real_model_knows_an_answer_from_another_text(real_reranker):
    question = "which bird sings at night"
    documents = ["The nightingale sings after dusk.", "Stock prices fell sharply.", question, "owl song " * 600]
    found = compare(real_reranker, [question], documents)
    for method in METHODS:
        answer, other, itself, long = found.of(method)[0]
        assert other < long < 1
        assert other < answer < itself
    answer, other, itself, _ = found.of("hybrid")[0]
    assert other < 0.3
    assert answer > 0.5
    assert itself > 0.95


@pytest.mark.parametrize("method", ["classical", "quantum"])
def test_only_the_methods_own_ranker_is_computed(reranker, method):
    assert set(compare(reranker, ["owl"], ["owl song"], method=method).rankers) == {method}


@pytest.mark.parametrize("ranker", ["_cosine", "_fidelity"])
def test_a_ranker_that_fails_leaves_no_score(monkeypatch, ranker):
    """What memory held was sent in its place: in a hybrid ranking the others answer."""
    monkeypatch.setattr(f"app.ranking.scoring.Scorer.{ranker}", lambda *_: 1 / 0)
    with pytest.raises(RuntimeError, match="the ranker"):
        compare(Reranker(HashEncoder()), ["owl"], ["owl song"])


def test_tokens_count_once(reranker):
    assert compare(reranker, ["owl", "an owl"], ["owl song", "prices", "prices"]).tokens == 1 + 2 + 2 + 1


@pytest.mark.parametrize(("documents", "characters"), [(2, 10**6), (100, 8), (100, 1)])
def test_parts_change_nothing(reranker, monkeypatch, documents, characters):
    many = ["owl", "song", "an owl", "owl", "prices fell", "night"]
    whole = compare(reranker, ["owl", "song"], many)
    monkeypatch.setattr(app.service.similarity, "_PART_DOCUMENTS", documents)
    monkeypatch.setattr(app.service.similarity, "_PART_CHARACTERS", characters)
    parted = compare(reranker, ["owl", "song"], many)
    for method in METHODS:
        assert parted.of(method) == pytest.approx(whole.of(method), abs=1e-6)
    assert parted.tokens == whole.tokens


def test_documents_are_encoded_once_for_all_queries():
    source = StateSource(HashEncoder(), StateCache(2**20))
    compare(Reranker(source), ["owl", "song", "night"], [f"song {i}" for i in range(250)])
    assert source.shared_encoder.counts().texts == 3 + 250


def test_a_deadline_passed_is_no_half_answer(reranker):
    with pytest.raises(TooLate, match="send fewer, or a later `deadline_ms`"):
        compare(reranker, ["owl"], ["song"], deadline=Deadline(0))


def test_documents_that_cannot_be_read_in_time_are_no_half_answer(monotonic):
    class Slow(HashEncoder):
        def forward(self, batch):
            monotonic.now += 0.03 * len(batch)
            return super().forward(batch)

    with pytest.raises(TooLate):
        compare(Reranker(Slow()), ["owl"], [f"song {i}" for i in range(40)], deadline=Deadline.after(0.3))


def test_time_is_looked_at_between_queries(monotonic):
    compared = []

    class Slow(Reranker):
        def rerank(self, query, *rest, **named):
            compared.append(query)
            monotonic.now += 1
            return super().rerank(query, *rest, **named)

    reranker, queries = Slow(StateSource(HashEncoder(), StateCache(2**20))), [f"owl {i}" for i in range(10)]
    compare(reranker, queries, ["song"])
    compared.clear()
    with pytest.raises(TooLate):
        compare(reranker, queries, ["song"], deadline=Deadline.after(2.5))
    assert compared == queries[:3]


def test_a_cancelled_comparison_ends(reranker):
    deadline = Deadline()
    deadline.cancel()
    with pytest.raises(Cancelled):
        compare(reranker, ["owl"], ["song"], deadline=deadline)


@pytest.mark.parametrize(("name", "qubits"), [("angle", 4), ("angle", 2), ("entangled", 3)])
def test_the_circuit_is_the_one_that_is_simulated(name, qubits):
    states = feature_map(name, qubits, 2.0)
    circuit = circuit_of(Reranker(HashEncoder(), states))
    size = check_limits(states)
    features = qubits if name == "angle" else 2 * qubits
    assert (circuit.map, circuit.bandwidth, circuit.qubits) == (name, 2.0, qubits)
    assert (circuit.qubits, circuit.depth, circuit.registers) == (size.qubits, size.depth, math.ceil(64 / features))
