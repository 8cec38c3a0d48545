"""Bodies and responses of the similarity routes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.dialects.body import validate
from app.api.dialects.similarity import (
    BatchSimilarityBody,
    BatchSimilarityResponse,
    SimilarityBody,
    SimilarityResponse,
    respond,
    respond_to_batch,
)
from app.errors import InvalidRequest
from app.ranking.job import Lap
from app.service.similarity import Circuit, Similarities

PAIR = {"text1": "owl", "text2": "song"}
BATCH = {"queries": ["owl"], "documents": ["song", {"text": "an owl", "page": 3}]}


@pytest.mark.parametrize("query", ["text1", "query"])
@pytest.mark.parametrize("document", ["text2", "document", "text"])
def test_the_names_of_two_texts(query, document):
    body = validate(SimilarityBody, {query: "owl", document: "song", "text1" if query != "text1" else "query": None})
    assert (body.text1, body.text2) == ("owl", "song")


def test_a_query_may_be_an_object_and_a_text_empty():
    body = validate(SimilarityBody, {"text1": {"text": " owl "}, "text2": " "})
    assert (body.text1, body.text2) == ("owl", " ")


@pytest.mark.parametrize(
    "sent",
    [
        {"queries": ["owl"], "documents": ["song"], "top_k": 2},
        {"query": "owl", "candidates": ["song"], "top_n": 2},
        {"queries": "owl", "query": "owl", "documents": ["song"], "top_k": 2, "top_n": 2},
        {"query": ["owl"], "documents": ["song"], "candidates": None, "top_n": 2, "threshold": None, "priority": 7},
    ],
)
def test_the_names_of_a_batch(sent):
    body = validate(BatchSimilarityBody, sent)
    assert (list(body.queries), body.texts(), body.top_k) == (["owl"], ["song"], 2)


def test_the_texts_of_objects():
    assert validate(BatchSimilarityBody, BATCH).texts() == ["song", "an owl"]
    with pytest.raises(InvalidRequest, match="document 0 holds no text"):
        validate(BatchSimilarityBody, BATCH | {"documents": [{}]}).texts()


@pytest.mark.parametrize(
    ("model", "change", "message"),
    [
        (SimilarityBody, {"text1": ""}, "text1: must not be empty"),
        (SimilarityBody, {"text1": None}, "text1: "),
        (SimilarityBody, {"text2": 3}, "text2: "),
        (SimilarityBody, {"query": "secret"}, "send either `text1` or `query`, not both"),
        (SimilarityBody, {"text": "secret"}, "send either `text2` or `text`, not both"),
        (SimilarityBody, {"method": "magic"}, "'classical', 'quantum' or 'hybrid'"),
        (SimilarityBody, {"deadline_ms": -1}, "deadline_ms: "),
        (SimilarityBody, {"deadline_ms": 600_001}, "deadline_ms: "),
        (BatchSimilarityBody, {"queries": []}, "queries: must hold at least one entry$"),
        (BatchSimilarityBody, {"queries": ["owl", ""]}, "queries.1: must not be empty"),
        (BatchSimilarityBody, {"documents": []}, "documents: must hold at least one entry$"),
        (BatchSimilarityBody, {"documents": ["owl", 3]}, "document 1 is neither text"),
        (BatchSimilarityBody, {"candidates": ["secret"]}, "send either `documents` or `candidates`, not both"),
        (BatchSimilarityBody, {"top_k": 0}, "top_k: "),
        (BatchSimilarityBody, {"threshold": 1.5}, "threshold: "),
        (BatchSimilarityBody, {"threshold": -0.1}, "threshold: "),
    ],
)
def test_an_invalid_field_is_named_without_its_value(model, change, message):
    with pytest.raises(InvalidRequest, match=message) as caught:
        validate(model, (PAIR if model is SimilarityBody else BATCH) | change)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("model", [SimilarityBody, BatchSimilarityBody])
@pytest.mark.parametrize("sent", [[], "owl", None, {}])
def test_an_invalid_body_is_refused(model, sent):
    with pytest.raises(InvalidRequest):
        validate(model, sent)


def similarities(cosines, fidelities) -> Similarities:
    rankers = {"classical": np.array(cosines), "quantum": np.array(fidelities)}
    half = np.maximum(np.array(fidelities) / 2, 1e-9)
    log_odds = np.log(half / (1 - half))  # so that a hybrid score is half of the fidelity
    return Similarities(rankers, log_odds, rankers["quantum"], 7, [Lap("encode", 0.0, 0.00123456)])


@pytest.mark.parametrize(("method", "score"), [("classical", 0.75), ("quantum", 0.25), ("hybrid", 0.125)])
def test_one_pair_is_described_completely(method, score):
    circuit = Circuit("angle", 2.0, 4, 1, 96)
    body = respond(similarities([[0.5]], [[0.25]]), method, circuit, "m", "id-1")
    SimilarityResponse.model_validate(body)
    assert (body["id"], body["model"], body["method"]) == ("id-1", "m", method)
    assert body["similarity"] == pytest.approx(score)
    assert body["scores"] == {"classical": 0.75, "quantum": 0.25, "hybrid": pytest.approx(0.125)}
    assert body["details"]["classical"] == {"cosine": 0.5}
    assert body["details"]["quantum"]["fidelity"] == 0.25
    assert body["details"]["quantum"]["registers"] == 96
    assert body["details"]["hybrid"] == {"log_odds": pytest.approx(-np.log(7)), "coverage": 0.25}
    assert body["usage"] == {"prompt_tokens": 7, "completion_tokens": 0, "total_tokens": 7}
    assert body["timings_ms"] == {"encode": 1.235}


def matches(result: Similarities, **fields):
    body = validate(BatchSimilarityBody, BATCH | fields)
    answer = respond_to_batch(result, body, "quantum", "m", "id-1")
    BatchSimilarityResponse.model_validate(answer)
    return [[(match["index"], match["similarity"]) for match in row["matches"]] for row in answer["results"]]


def test_matches_are_best_first_and_ties_in_order():
    result = similarities(np.zeros((2, 4)), [[0.5, 0.75, 0.5, 1.0], [0, 0, 0, 0]])
    assert matches(result) == [[(3, 1.0), (1, 0.75), (0, 0.5), (2, 0.5)], [(0, 0), (1, 0), (2, 0), (3, 0)]]
    assert matches(result, top_k=1) == [[(3, 1.0)], [(0, 0)]]
    assert matches(result, top_k=9) == matches(result)
    assert matches(result, threshold=0.5, top_k=3) == [[(3, 1.0), (1, 0.75), (0, 0.5)], []]
    assert matches(result, threshold=0.51) == [[(3, 1.0), (1, 0.75)], []]
    assert matches(result, threshold=0) == matches(result)


table = st.integers(1, 4).flatmap(
    lambda m: st.lists(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=m, max_size=m), min_size=1, max_size=4)
)


@given(table, st.none() | st.integers(1, 5), st.none() | st.sampled_from([0.0, 0.25, 0.3, 1.0]))
def test_matches_equal_a_stable_sort(fidelities, top_k, threshold):
    result = similarities(np.zeros(np.shape(fidelities)), fidelities)
    for row, got in zip(fidelities, matches(result, top_k=top_k, threshold=threshold), strict=True):
        ordered = sorted(enumerate(row), key=lambda pair: -pair[1])
        assert got == [pair for pair in ordered if pair[1] >= (threshold or 0)][:top_k]


def test_explain_gives_each_match_its_own_scores():
    result = similarities([[1.0, 0.5]], [[0.25, 0.75]])
    body = validate(BatchSimilarityBody, BATCH | {"explain": True})
    answer = respond_to_batch(result, body, "hybrid", "m", "id-1")
    BatchSimilarityResponse.model_validate(answer)
    found = answer["results"][0]["matches"]
    for match in found:
        match["similarity"] = round(match["similarity"], 9)
        match["scores"]["hybrid"] = round(match["scores"]["hybrid"], 9)
    assert found == [
        {"index": 1, "similarity": 0.375, "scores": {"classical": 0.75, "quantum": 0.75, "hybrid": 0.375}},
        {"index": 0, "similarity": 0.125, "scores": {"classical": 1.0, "quantum": 0.25, "hybrid": 0.125}},
    ]
