"""Every dialect against the real application, and the table that tells them apart."""

import pytest
from pydantic import TypeAdapter

from app.errors import InvalidRequest
from app.routes.rerank import PATHS
from app.wire import responses
from app.wire.dialects import (
    INFINITY,
    MIXEDBREAD,
    PINECONE,
    STANDARD,
    STANDARD_WITH_DATA,
    TEI,
    VOYAGE,
    dialect_of,
)
from tests.app.problems import problem

DOCS = ["market prices", "an owl song", "an owl"]
Q = {"query": "owl song"}
PINE = {"x-pinecone-api-version": "2025-01"}


@pytest.mark.parametrize(
    ("fields", "path", "headers", "dialect"),
    [
        ({"documents": DOCS}, "/rerank", {}, STANDARD),
        ({"documents": DOCS}, "/v2/rerank", {}, STANDARD),
        ({"documents": DOCS}, "/v1/rerank", {}, STANDARD_WITH_DATA),
        ({"documents": DOCS}, "/infinity/rerank", {}, INFINITY),
        ({"candidates": DOCS, "top_k": 1}, "/rerank", {}, STANDARD),
        ({"documents": DOCS, "top_k": 1, "method": "quantum"}, "/rerank", {}, STANDARD),
        ({"documents": DOCS, "top_k": None, "top_n": None}, "/v1/rerank", {}, STANDARD_WITH_DATA),
        ({"top_k": 3}, "/rerank", {}, STANDARD),
        ({"texts": DOCS}, "/v1/rerank", {}, TEI),
        ({"texts": DOCS, "documents": None, "top_k": None}, "/rerank", {}, TEI),
        ({"documents": DOCS, "texts": None}, "/rerank", {}, STANDARD),
        ({"documents": DOCS, "top_k": 1}, "/v1/rerank", {}, VOYAGE),
        ({"documents": DOCS, "top_k": None}, "/rerank", {}, VOYAGE),
        ({"documents": DOCS, "truncation": None}, "/v2/rerank", {}, VOYAGE),
        ({"input": DOCS, "top_k": 1}, "/v1/reranking", {}, MIXEDBREAD),
        ({"input": DOCS}, "/rerank", {}, MIXEDBREAD),
        ({"input": "x", "documents": DOCS}, "/rerank", {}, STANDARD),
        ({"documents": [{"text": "x"}]}, "/rerank", PINE, PINECONE),
        ({}, "/rerank", {}, STANDARD),
    ],
)
def test_the_body_tells_the_dialect(fields, path, headers, dialect):
    assert dialect_of(fields, path, headers) is dialect


def test_texts_and_documents_are_two_dialects():
    with pytest.raises(InvalidRequest, match="not both"):
        dialect_of({"texts": [], "documents": []}, "/rerank", {})


RESPONSES = {
    "standard": TypeAdapter(responses.RerankResponse),
    "tei": TypeAdapter(list[responses.TeiRank]),
    "voyage": TypeAdapter(responses.VoyageResponse),
    "mixedbread": TypeAdapter(responses.MixedbreadResponse),
    "pinecone": TypeAdapter(responses.PineconeResponse),
}
ASKED = [
    ("standard", {"documents": DOCS, "return_documents": True, "explain": True}, {}),
    ("standard", {"candidates": DOCS, "top_k": 3}, {}),
    ("tei", {"texts": DOCS, "return_text": True}, {}),
    ("tei", {"texts": DOCS}, {}),
    ("voyage", {"documents": DOCS, "top_k": 3, "return_documents": True}, {}),
    ("voyage", {"documents": DOCS, "truncation": True}, {}),
    ("mixedbread", {"input": DOCS, "top_k": 3, "return_input": True}, {}),
    ("pinecone", {"documents": [{"text": text} for text in DOCS]}, PINE),
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("name", "fields", "headers"), ASKED)
def test_on_every_path_each_dialect_is_answered_as_documented(client, path, name, fields, headers):
    response = client.post(path, json=Q | fields, headers=headers)
    assert response.status_code == 200
    RESPONSES[name].validate_python(response.json(), strict=True)


@pytest.mark.parametrize(("name", "fields", "headers"), ASKED)
def test_all_dialects_rank_alike(client, name, fields, headers):
    answer = client.post("/v2/rerank", json=Q | fields, headers=headers).json()
    rows = answer if isinstance(answer, list) else answer.get("results") or answer["data"]
    scores = {row["index"]: row.get("score", row.get("relevance_score")) for row in rows}
    expected = client.post("/rerank", json=Q | {"documents": DOCS}).json()["results"]
    assert list(scores.items()) == [(row["index"], row["relevance_score"]) for row in expected]


@pytest.mark.parametrize("path", ["/v1/v1/rerank", "/v1/v2/rerank", "//rerank", "/v1//rerank/", "/v1/rerank/"])
def test_slips_in_the_path_are_forgiven(client, path):
    assert (
        client.post(f"http://testserver{path}", json=Q | {"documents": DOCS}, follow_redirects=False).status_code == 200
    )


def test_documents_take_the_form_of_their_dialect(client):
    def first(path, body, rows="results", headers=None):
        answer = client.post(path, json=Q | body, headers=headers).json()
        return (answer if rows is None else answer[rows])[0]

    back = {"documents": DOCS, "return_documents": True}
    assert first("/rerank", back)["document"] == {"text": "an owl song"}
    assert first("/v1/rerank", back)["document"] == {"text": "an owl song"}
    assert first("/v1/rerank", back, "data")["document"] == "an owl song"
    assert first("/infinity/rerank", back)["document"] == "an owl song"
    assert first("/rerank", back | {"top_k": 1}, "data")["document"] == "an owl song"
    assert first("/rerank", {"texts": DOCS, "return_text": True}, None)["text"] == "an owl song"
    assert first("/v1/reranking", {"input": DOCS, "return_input": True}, "data")["input"] == "an owl song"
    assert first("/rerank", {"documents": DOCS}, "data", PINE)["document"] == {"text": "an owl song"}
    assert "document" not in first("/rerank", {"documents": DOCS, "return_documents": False}, "data", PINE)
    for row in (first("/rerank", {"documents": DOCS}), first("/v1/rerank", {"documents": DOCS}, "data")):
        assert set(row) == {"index", "relevance_score"}


@pytest.mark.parametrize(
    ("body", "listed"),
    [
        ({"documents": DOCS, "top_n": 0}, True),
        ({"input": DOCS, "top_k": 0}, True),
        ({"documents": DOCS, "top_k": 0}, False),
        ({"texts": DOCS, "top_n": 0}, False),
    ],
)
def test_the_detail_of_a_422_takes_the_form_of_its_dialect(client, body, listed):
    response = client.post("/v1/rerank", json=Q | body)
    problem(response, 422, "top_")
    assert isinstance(response.json()["detail"], list) == listed
    if listed:
        assert response.json()["detail"][0]["loc"][0] == "body"


ODD = {
    "nulls": dict.fromkeys(
        "top_n top_k model max_tokens_per_doc max_chunks_per_doc return_documents return_len rank_fields raw_scores "
        "relevant_spans priority kwargs collection method exclude deadline_ms explain candidates texts input".split()
    ),
    "strings for booleans": {"return_documents": "true", "return_len": "True", "raw_scores": "false", "explain": "0"},
    "unknown fields": {"instruction": "x", "truncate_prompt_tokens": -1, "user": {"a": [1]}, "overlap_tokens": 80},
    "xinference's": {"kwargs": "{}", "max_chunks_per_doc": None, "return_len": None},
    "top_n as text": {"top_n": "4000"},
    "query as object": {"query": {"text": "owl song"}},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_odd_but_legal_requests_get_a_full_answer(client, odd):
    documents = ["", "an owl", "market prices", "an owl", " ", "\u00e9\U0001f989" * 20, "an owl song"] * 20
    answer = client.post("/v1/rerank", json=Q | {"documents": documents} | odd).json()
    assert sorted(row["index"] for row in answer["results"]) == list(range(140))
    scores = [row["relevance_score"] for row in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    by_text: dict[str, set[float]] = {}
    for row in answer["results"]:
        by_text.setdefault(documents[row["index"]], set()).add(row["relevance_score"])
    assert all(len(found) == 1 for found in by_text.values())
    assert answer["results"][0]["index"] == 6
    assert isinstance(answer["model"], str)


def test_a_thousand_documents_come_back_and_one_more_is_refused(client):
    body = Q | {"documents": [f"owl {at}" for at in range(1000)], "deadline_ms": 0}
    rows = client.post("/v2/rerank", json=body).json()["results"]
    assert sorted(row["index"] for row in rows) == list(range(1000))
    problem(client.post("/v2/rerank", json=body | {"documents": ["x"] * 1001}), 413, "1001 documents")


def test_raw_scores_are_the_log_odds(client):
    from math import exp

    for path, body, rows, key in (
        ("/rerank", {"documents": DOCS}, "results", "relevance_score"),
        ("/rerank", {"texts": DOCS}, None, "score"),
    ):
        plain, raw = (client.post(path, json=Q | body | {"raw_scores": raw}).json() for raw in (False, True))
        pairs = zip(plain if rows is None else plain[rows], raw if rows is None else raw[rows], strict=True)
        for one, other in pairs:
            assert one["index"] == other["index"]
            assert one[key] == pytest.approx(1 / (1 + exp(-other[key])))
