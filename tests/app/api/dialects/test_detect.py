"""Every dialect against the real application, and the detection of dialects."""

from math import exp

import pytest
from pydantic import TypeAdapter

from app.api.dialects import cohere, dashscope, mixedbread, nim, pinecone, tei, voyage
from app.api.dialects.detect import (
    DASHSCOPE,
    INFINITY,
    LITELLM,
    LITELLM_WITH_DATA,
    MIXEDBREAD,
    NIM,
    PATHS,
    PINECONE,
    STANDARD,
    STANDARD_WITH_DATA,
    TEI,
    VOYAGE,
    dialect_of,
)
from app.errors import InvalidRequest
from tests.app.problems import problem

DOCS = ["market prices", "an owl song", "an owl"]
Q = {"query": "owl song"}
PINE = {"x-pinecone-api-version": "2025-01"}
LITE = {"user-agent": "litellm/1.106.2"}
PASSAGES = [{"text": text} for text in DOCS]
ALI = {"input": {"query": "owl song", "documents": DOCS}}


@pytest.fixture
def client(shared_client):
    return shared_client


@pytest.mark.parametrize(
    ("fields", "path", "headers", "dialect"),
    [
        ({"documents": DOCS}, "/rerank", {}, STANDARD),
        ({"documents": DOCS}, "/v2/rerank", {}, STANDARD),
        ({"documents": DOCS}, "/v1/rerank", {}, STANDARD_WITH_DATA),
        ({"documents": DOCS}, "/infinity/rerank", {}, INFINITY),
        ({"candidates": DOCS, "top_k": 1}, "/rerank", {}, STANDARD),
        ({"documents": DOCS, "top_k": 1, "method": "quantum"}, "/rerank", {}, STANDARD),
        *(
            ({"documents": DOCS, "top_k": 1, name: None}, "/rerank", {}, STANDARD)
            for name in (
                "diversity",
                "relevant_spans",
                "raw_scores",
                "rank_fields",
                "max_tokens_per_doc",
                "filter",
                "ids",
            )
        ),
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
        ({"passages": PASSAGES, "truncate": "END"}, "/rerank", {}, NIM),
        ({"passages": PASSAGES, "top_n": 1}, "/v1/rerank", LITE, NIM),
        ({"passages": PASSAGES, "documents": None}, "/v1/ranking", {}, NIM),
        ({"passages": []}, "/rerank", {}, NIM),
        ({"passages": PASSAGES, "documents": DOCS}, "/v1/ranking", {}, STANDARD),
        ({"passages": PASSAGES, "candidates": DOCS}, "/v1/ranking", {}, STANDARD),
        ({}, "/v1/ranking", {}, NIM),
        (ALI, "/rerank", {}, DASHSCOPE),
        (ALI | {"parameters": {"top_n": 1}}, "/v1/ranking", {}, DASHSCOPE),
        ({"input": {}}, "/v1/reranking", {}, DASHSCOPE),
        ({"documents": DOCS}, dashscope.PATH, {}, STANDARD),
        ({"parameters": {}}, dashscope.PATH, {}, DASHSCOPE),
        ({"documents": DOCS}, "/v2/rerank", LITE, LITELLM),
        ({"documents": DOCS}, "/v1/rerank", LITE, LITELLM_WITH_DATA),
        ({"documents": DOCS}, "/infinity/rerank", LITE, INFINITY),
        ({"documents": DOCS, "top_k": 1}, "/v1/rerank", LITE, VOYAGE),
        ({"documents": [{"text": "x"}]}, "/rerank", PINE, PINECONE),
        ({}, "/rerank", {}, STANDARD),
    ],
)
def test_the_dialect_is_detected_from_the_body(fields, path, headers, dialect):
    assert dialect_of(fields, path, headers) is dialect


def test_texts_and_documents_together_are_refused():
    with pytest.raises(InvalidRequest, match="not both"):
        dialect_of({"texts": [], "documents": []}, "/rerank", {})


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["docs", "contexts", "passages"])
def test_texts_in_an_unknown_field_do_not_search_a_collection(client, path, name):
    response = client.post(path, json=Q | {name: ["secret"], "documents": None, "top_n": 1})
    assert response.status_code == 422
    assert f"`{name}` holds texts" in response.json()["message"]
    assert "secret" not in response.text


RESPONSES = {
    "standard": TypeAdapter(cohere.RerankResponse),
    "tei": TypeAdapter(list[tei.TeiRank]),
    "voyage": TypeAdapter(voyage.VoyageResponse),
    "mixedbread": TypeAdapter(mixedbread.MixedbreadResponse),
    "pinecone": TypeAdapter(pinecone.PineconeResponse),
    "nim": TypeAdapter(nim.NimResponse),
    "dashscope": TypeAdapter(dashscope.DashScopeResponse),
}
REQUESTS = [
    ("standard", {"documents": DOCS, "return_documents": True, "explain": True}, {}),
    ("standard", {"candidates": DOCS, "top_k": 3}, {}),
    ("tei", {"texts": DOCS, "return_text": True}, {}),
    ("tei", {"texts": DOCS}, {}),
    ("voyage", {"documents": DOCS, "top_k": 3, "return_documents": True}, {}),
    ("voyage", {"documents": DOCS, "truncation": True}, {}),
    ("mixedbread", {"input": DOCS, "top_k": 3, "return_input": True}, {}),
    ("pinecone", {"documents": PASSAGES}, PINE),
    ("nim", {"query": {"text": "owl song"}, "passages": PASSAGES, "truncate": "END", "model": "m"}, {}),
    ("nim", {"passages": PASSAGES, "top_k": 3}, {}),
    ("dashscope", ALI | {"model": "m", "parameters": {"return_documents": True, "top_n": 3, "instruct": "x"}}, {}),
    ("dashscope", ALI | {"parameters": None}, {}),
    ("dashscope", {"input": {"query": {"text": "owl song"}, "documents": PASSAGES}}, {}),
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("name", "fields", "headers"), REQUESTS)
def test_every_path_answers_each_dialect_as_documented(client, path, name, fields, headers):
    response = client.post(path, json=Q | fields, headers=headers)
    assert response.status_code == 200
    RESPONSES[name].validate_python(response.json(), strict=True)


def rows_of(answer):
    if isinstance(answer, list):
        return answer
    answer = answer.get("output", answer)
    return next(answer[name] for name in ("results", "data", "rankings") if name in answer)


def score_of(row):
    if "logit" in row:
        return 1 / (1 + exp(-row["logit"]))
    return row.get("score", row.get("relevance_score"))


@pytest.mark.parametrize(("name", "fields", "headers"), REQUESTS)
def test_all_dialects_give_the_same_ranking(client, name, fields, headers):
    answer = client.post("/v2/rerank", json=Q | fields, headers=headers).json()
    expected = client.post("/rerank", json=Q | {"documents": DOCS}).json()["results"]
    assert [row["index"] for row in rows_of(answer)] == [row["index"] for row in expected]
    assert [score_of(row) for row in rows_of(answer)] == pytest.approx([row["relevance_score"] for row in expected])


@pytest.mark.parametrize("path", ["/v1/v1/rerank", "/v1/v2/rerank", "//rerank", "/v1//rerank/", "/v1/rerank/"])
def test_mistyped_paths_are_served(client, path):
    assert (
        client.post(f"http://testserver{path}", json=Q | {"documents": DOCS}, follow_redirects=False).status_code == 200
    )


def test_documents_have_the_form_of_their_dialect(client):
    def first(path, body, rows=None, headers=None):
        answer = client.post(path, json=Q | body, headers=headers).json()
        return (answer[rows] if rows else rows_of(answer))[0]

    returning = {"documents": DOCS, "return_documents": True}
    assert first("/rerank", returning)["document"] == {"text": "an owl song"}
    assert first("/v1/rerank", returning)["document"] == {"text": "an owl song"}
    assert first("/v1/rerank", returning, "data")["document"] == "an owl song"
    assert first("/infinity/rerank", returning)["document"] == "an owl song"
    assert first("/rerank", returning | {"top_k": 1}, "data")["document"] == "an owl song"
    assert first("/rerank", {"texts": DOCS, "return_text": True})["text"] == "an owl song"
    assert first("/v1/reranking", {"input": DOCS, "return_input": True}, "data")["input"] == "an owl song"
    assert first("/rerank", {"documents": DOCS}, "data", PINE)["document"] == {"text": "an owl song"}
    assert "document" not in first("/rerank", {"documents": DOCS, "return_documents": False}, "data", PINE)
    assert set(first(nim.PATH, {"passages": PASSAGES})) == {"index", "logit"}
    returning = ALI | {"parameters": {"return_documents": "true"}}
    assert first(dashscope.PATH, returning)["document"] == {"text": "an owl song"}
    assert "document" not in first(dashscope.PATH, ALI)
    newer = {
        "documents": DOCS,
        "model": "qwen3-rerank",
        "top_n": 1,
        "instruct": "Find the answer.",
        "return_documents": True,
    }
    assert first(dashscope.COMPATIBLE_PATH, newer)["document"] == {"text": "an owl song"}
    for row in (first("/rerank", {"documents": DOCS}), first("/v1/rerank", {"documents": DOCS}, "data")):
        assert set(row) == {"index", "relevance_score", "tokens"}


@pytest.mark.parametrize(
    ("body", "listed"),
    [
        ({"documents": DOCS, "top_n": 0}, True),
        ({"input": DOCS, "top_k": 0}, True),
        ({"documents": DOCS, "top_k": 0}, False),
        ({"texts": DOCS, "top_n": 0}, False),
        ({"passages": PASSAGES, "top_n": 0}, False),
    ],
)
def test_the_detail_of_a_422_has_the_form_of_its_dialect(client, body, listed):
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
def test_unusual_valid_requests_get_a_full_response(client, odd):
    documents = ["", "an owl", "market prices", "an owl", " ", "\u00e9\U0001f989" * 20, "an owl song"] * 20
    answer = client.post("/v1/rerank", json=Q | {"documents": documents} | odd).json()
    assert sorted(row["index"] for row in answer["results"]) == list(range(140))
    scores = [row["relevance_score"] for row in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    by_text: dict[str, set[float]] = {}
    for row in answer["results"]:
        by_text.setdefault(documents[row["index"]], set()).add(row["relevance_score"])
    assert all(len(scores) == 1 for scores in by_text.values())
    assert answer["results"][0]["index"] == 6
    assert isinstance(answer["model"], str)


def test_a_thousand_documents_are_ranked_and_one_more_is_refused(client):
    body = Q | {"documents": [f"owl {index}" for index in range(1000)], "deadline_ms": 0}
    rows = client.post("/v2/rerank", json=body).json()["results"]
    assert sorted(row["index"] for row in rows) == list(range(1000))
    problem(client.post("/v2/rerank", json=body | {"documents": ["x"] * 1001}), 413, "1001 documents")


def test_raw_scores_are_the_log_odds(client):
    for path, body, rows, key in (
        ("/rerank", {"documents": DOCS}, "results", "relevance_score"),
        ("/rerank", {"texts": DOCS}, None, "score"),
    ):
        plain, raw = (client.post(path, json=Q | body | {"raw_scores": raw}).json() for raw in (False, True))
        pairs = zip(plain if rows is None else plain[rows], raw if rows is None else raw[rows], strict=True)
        for one, other in pairs:
            assert one["index"] == other["index"]
            assert one[key] == pytest.approx(1 / (1 + exp(-other[key])))


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"passages": ["secret"]}, "`passages` holds texts, and a field of this name is not read"),
        ({"passages": [{"text": "a"}, "secret"]}, "passages: passage 1 is not an object with a `text`; send texts as"),
        ({"passages": []}, "passages: must hold at least one entry"),
        ({"passages": [{"text": "a"}, {"image": "secret"}]}, "document 1 holds no text"),
        ({"input": {"query": "q", "documents": []}}, "input.documents: must hold at least one entry"),
        ({"input": {"documents": ["secret"]}}, "input.query: is required"),
        ({"input": {"query": "q", "documents": ["secret", 3]}}, "input.documents: document 1 is neither text"),
        ({"input": {"query": "q", "documents": ["secret", {}]}}, "document 1 holds no text"),
        ({"input": {"query": "q", "documents": ["secret"]}, "parameters": True}, "parameters: must be a JSON object"),
        ({"input": {"query": "q", "documents": ["secret"]}, "parameters": {"top_n": 0}}, "parameters.top_n: "),
    ],
)
def test_errors_name_the_field_of_nested_dialects(client, change, detail):
    response = client.post("/rerank", json=Q | change)
    assert response.status_code == 422
    assert detail in response.json()["message"]
    assert "secret" not in response.text


def test_dashscopes_client_reads_errors_as_json(client, monkeypatch):
    """With `application/problem+json` it would show the whole body as the message, and no code."""
    problem(client.post("/rerank", json={"input": {}}), 422, "input.query: is required", "application/json")
    problem(client.post(dashscope.PATH, content=b"{"), 400, "not JSON", "application/json")
    problem(client.get(dashscope.PATH), 405, "Method Not Allowed", "application/json")
    elsewhere = client.post(dashscope.PATH, json=ALI, headers={"Host": "rerank.example.com"})
    problem(elsewhere, 403, "QRERANK_HOSTS", "application/json")
    problem(
        client.post(dashscope.PATH, json=Q | {"documents": []}), 422, "documents: must hold"
    )  # it sends no such body
    monkeypatch.setattr(client.app.state.dependencies.engine, "run", None)
    problem(client.post(dashscope.PATH, json=ALI), 500, "its log says why", "application/json")


OBJECTS = [{"title": "owl song"}, {"text": ["owl", "song"]}, {"text": None, "content": "owl"}, {"id": 1, "text": "owl"}]
RETURNING = {"documents": OBJECTS, "return_documents": True}


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (RETURNING, {}),
        (RETURNING | {"rank_fields": ["title", "text", "content"]}, {}),
        ({"documents": OBJECTS}, PINE),
        ({"input": OBJECTS, "return_input": True}, {}),
        ({"input": {"query": "owl", "documents": OBJECTS}, "parameters": {"return_documents": True}}, {}),
    ],
)
@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_an_object_is_returned_unchanged(client, path, body, headers):
    rows = rows_of(client.post(path, json=Q | body, headers=headers).json())
    assert [row.get("document", row.get("input")) for row in sorted(rows, key=lambda row: row["index"])] == OBJECTS


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_litellm_gets_a_text_for_an_object_without_one(client, path):
    rows = client.post(path, json=Q | RETURNING, headers=LITE).json()["results"]
    documents = {row["index"]: row["document"] for row in rows}
    texts = ["title: owl song", 'text: ["owl","song"]', "owl", "owl"]
    assert [documents[at] for at in range(4)] == [
        sent | {"text": text} for sent, text in zip(OBJECTS, texts, strict=True)
    ]
