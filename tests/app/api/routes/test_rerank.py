"""HTTP against the real application with the weight-free model."""

import json
import math

import pytest
from starlette.testclient import TestClient

from app.api.error_catalogue import ERRORS
from app.settings import FirstStageSettings, LimitSettings, Settings
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.fusion.algorithms import ALGORITHMS
from retrieval.store.indexer import build
from retrieval.text.passages import Passage
from tests.app.problems import problem
from tests.conftest import serving

BODY = {"query": "owl song", "documents": ["market prices", "an owl song", {"text": "an owl", "page": 3}]}


@pytest.fixture
def client(shared_client):
    return shared_client


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_the_envelope_is_complete(client, path):
    response = client.post(path, json=BODY)
    assert response.status_code == 200
    body = response.json()
    assert body["object"] == "rerank"
    assert body["model"] == "hash"
    assert [row["index"] for row in body["results"]] == [1, 2, 0]
    scores = [row["relevance_score"] for row in body["results"]]
    assert scores == sorted(scores, reverse=True)
    assert set(body["results"][0]) == {"index", "relevance_score", "tokens"}
    assert [row["tokens"] for row in body["results"]] == [{"read": n, "of": n} for n in (3, 2, 2)]
    assert body["meta"]["method"] == "hybrid"
    assert body["meta"]["encoded"] == 3
    assert body["meta"]["degraded"] == []
    assert body["meta"]["best"] == scores[0]
    assert body["meta"]["answerable"] is (scores[0] >= 0.5)
    assert body["meta"]["calibrated"] is False  # of the hash model
    assert body["meta"]["timings_ms"]["encode"] >= 0
    assert body["usage"]["prompt_tokens"] == body["usage"]["total_tokens"] == 9
    assert body["usage"]["completion_tokens"] == 0
    assert body["id"] == response.headers["x-request-id"]


def test_documents_are_returned_unchanged(client):
    rows = client.post("/rerank", json=BODY | {"return_documents": True}).json()["results"]
    assert rows[0]["document"] == {"text": "an owl song"}
    assert rows[1]["document"] == {"text": "an owl", "page": 3}


def test_relevant_spans_may_be_one_word(client):
    def spans(option):
        rows = client.post("/rerank", json=BODY | {"relevant_spans": option}).json()["results"]
        return [row.get("relevant_spans") for row in rows]

    assert spans(True) == spans("true") == spans({}) == spans({"mode": "enabled", "threshold": 0.1})
    assert all(spans_of_row is not None for spans_of_row in spans(True))
    assert spans(False) == spans("false") == spans(None) == [None] * 3


@pytest.mark.parametrize("method", ["classical", "quantum", "hybrid"])
def test_explain_gives_each_rankers_score(client, method):
    body = client.post("/rerank", json=BODY | {"explain": True, "method": method}).json()
    expected = {"classical", "quantum", "lexical"} if method == "hybrid" else {method, "lexical"}
    assert all(set(row["scores"]) == expected for row in body["results"])
    assert body["meta"]["method"] == method


@pytest.mark.parametrize(("top_n", "rows"), [(1, 1), (3, 3), (99, 3), (None, 3)])
def test_top_n_limits_the_results(client, top_n, rows):
    assert len(client.post("/rerank", json=BODY | {"top_n": top_n}).json()["results"]) == rows


def test_the_aliases_of_fields(client):
    body = {"query": BODY["query"], "candidates": BODY["documents"], "top_k": 2}
    assert [row["index"] for row in client.post("/rerank", json=body).json()["results"]] == [1, 2]
    problem(client.post("/rerank", json=BODY | body), 422, "not both")


def test_nulls_strings_for_booleans_and_unknown_fields_are_accepted(client):
    optional = ("top_n", "method", "exclude", "explain", "model", "collection", "candidates", "top_k")
    body = BODY | dict.fromkeys(optional) | {"return_documents": "true", "priority": 7}
    rows = client.post("/rerank", json=body).json()["results"]
    assert len(rows) == 3
    assert all("document" in row for row in rows)


def test_the_model_is_echoed(client):
    assert client.post("/rerank", json=BODY | {"model": "rerank-v3.5"}).json()["model"] == "rerank-v3.5"


def test_empty_and_repeated_documents_are_ranked(client):
    rows = client.post("/rerank", json={"query": "owl", "documents": ["", "owl", "owl", ""]}).json()["results"]
    assert [row["index"] for row in rows] == [1, 2, 0, 3]


def test_each_fusion_ranks_all_documents(client):
    def results(**fields):
        return client.post("/rerank", json=BODY | fields).json()["results"]

    default = results()
    assert results(fusion="weighted") == default
    for fusion in ALGORITHMS:
        found = results(fusion=fusion)
        assert sorted(row["index"] for row in found) == sorted(row["index"] for row in default)
        assert all(0 <= row["relevance_score"] <= 1 for row in found)


def test_exclude_takes_a_text_or_a_list(client):
    one = client.post("/rerank", json=BODY | {"exclude": "song"}).json()["results"]
    many = client.post("/rerank", json=BODY | {"exclude": ["song"]}).json()["results"]
    assert one == many != client.post("/rerank", json=BODY).json()["results"]


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"query": ""}, "query: must not be empty"),
        ({"query": " \n"}, "query: must not be empty"),
        ({"query": "\x1f\x1c"}, "query: must not be empty"),
        ({"query": "\u200b\ufeff"}, "query: must not be empty"),
        ({"query": 3}, "query"),
        ({"documents": []}, "documents: must hold at least one"),
        ({"documents": None}, "send `documents` (or `texts`), or name a `collection`"),
        ({"documents": "secret"}, "documents: Input should be a valid list"),
        ({"documents": ["secret", 3]}, "document 1 is neither text"),
        ({"documents": [None]}, "document 0 is neither text"),
        ({"documents": [{"image": "secret"}]}, "document 0 holds no text"),
        ({"documents": ["secret", {}]}, "document 1 holds no text"),
        ({"documents": [{"content": [{"type": "image", "url": "secret"}]}]}, "document 0 has content that is not text"),
        ({"documents": [{"text": "secret"}], "rank_fields": ["title"]}, "document 0 has none of the fields"),
        ({"max_tokens_per_doc": 0}, "max_tokens_per_doc"),
        ({"max_chunks_per_doc": 0}, "max_chunks_per_doc"),
        ({"relevant_spans": {"threshold": 2}}, "relevant_spans.threshold"),
        ({"relevant_spans": "secret"}, "relevant_spans: must be true, false, or an object"),
        ({"documents": None, "docs": ["secret"]}, "`docs` holds texts"),
        ({"texts": ["secret"]}, "send either `texts` or `documents`"),
        ({"top_n": 0}, "top_n"),
        ({"top_n": -1}, "top_n"),
        ({"top_n": 1.5}, "top_n"),
        ({"method": "magic"}, "'classical', 'quantum', 'hybrid' or 'hybrid+cross'"),
        (
            {"fusion": "magic"},
            "'weighted', 'min_max', 'reciprocal_rank', 'borda', 'condorcet', 'bayesian', 'stacking' or",
        ),
        ({"fusion": "borda", "method": "quantum"}, "fusion: quantum has one ranker, and nothing to fuse"),
        ({"exclude": [""]}, "exclude.0: must not be empty"),
        ({"exclude": ["a", "\xad"]}, "exclude.1: must not be empty"),
        ({"exclude": ["owl song"]}, "parallel to the query"),
        ({"collection": "../secret", "documents": None}, "collection"),
    ],
)
def test_an_invalid_field_is_named(client, change, detail):
    problem(client.post("/rerank", json=BODY | change), 422, detail)


def test_a_missing_query_is_named(client):
    problem(client.post("/rerank", json={"documents": ["secret"]}), 422, "query: is required")


@pytest.mark.parametrize("body", [b"", b"{", b'{"query": NaN}', b'{"query": "\xff"}', b'{"query": "\\ud800"}'])
def test_invalid_json_is_refused(client, body):
    problem(client.post("/rerank", content=body), 400, "not JSON")


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank/stream", "/v1/ranking"])
def test_the_document_with_a_lone_surrogate_is_named(client, path):
    body = rb'{"query": "q", "documents": ["a", "b", "c", "secret \ud800"]}'
    response = client.post(path, content=body)
    assert response.status_code == 400
    assert "document 3 holds half of a character" in response.json()["message"]
    assert "secret" not in response.text


def test_json_that_is_not_an_object_is_refused(client):
    problem(client.post("/rerank", json=["secret"]), 422, "must be a JSON object")


@pytest.fixture
def strict(tmp_path):
    limits = LimitSettings(body_bytes=1024, documents=3, query_characters=10, excluded_texts=1)
    with serving(Settings(model="hash", data_dir=tmp_path, limits=limits)) as started:
        yield started


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"query": "owl", "documents": ["x"] * 3}, None),
        ({"query": "owl", "documents": ["x"] * 4}, "4 documents were sent and at most 3"),
        ({"query": "q" * 10, "documents": ["x"]}, None),
        ({"query": "q" * 11, "documents": ["x"]}, "11 characters and at most 10"),
        ({"query": "owl", "documents": ["x"], "exclude": ["a"]}, None),
        ({"query": "owl", "documents": ["x"], "exclude": ["a", "b"]}, "2 texts are excluded and at most 1"),
    ],
)
def test_limits_hold_at_n_and_n_plus_one(strict, body, detail):
    response = strict.post("/rerank", json=body)
    if detail is None:
        assert response.status_code == 200
    else:
        problem(response, 413, detail)


@pytest.mark.parametrize("chunked", [False, True])
def test_the_body_limit_holds_at_n_and_n_plus_one(strict, chunked):
    body = json.dumps({"query": "owl", "documents": ["x"]}).encode()

    def send(size: int):
        content = body.ljust(size)
        return strict.post("/rerank", content=iter([content[:500], content[500:]]) if chunked else content)

    assert send(1024).status_code == 200
    problem(send(1025), 413, "larger than the 1024 bytes")


def test_a_body_parsed_in_a_thread_gives_the_same_result(client):
    body = BODY | {"padding": "x" * 2**17}
    assert client.post("/rerank", json=body).json()["results"] == client.post("/rerank", json=BODY).json()["results"]


@pytest.mark.parametrize("name", ["passages", "docs", "contexts", "inputs", "chunks", "candidates_list"])
def test_no_collection_is_ranked_if_texts_were_sent(hash_settings, name):
    build(hash_settings.collections_dir / "birds", [Passage("a", "", "an owl song")], HashEncoder(), lambda *_: None)
    with serving(hash_settings.model_copy(update={"default_collection": "birds"})) as client:
        for texts in (["secret"], [{"text": "secret"}, {"text": "secret"}]):
            answer = client.post("/rerank", json={"query": "owl", name: texts})
            ranked = answer.status_code == 200
            assert ranked == (name == "passages" and texts[0] != "secret"), "NIM's own form is a dialect"
            assert "an owl song" not in answer.text
            if not ranked:
                problem(answer, 422, f"`{name}` holds texts")
        assert client.post("/rerank", json={"query": "owl", "tags": [], "user": {"a": [1]}}).status_code == 200


def test_candidates_come_from_a_collection(hash_settings):
    passages = [Passage("a", "Owls", "an owl song"), Passage("b", "", "market prices")]
    build(hash_settings.collections_dir / "birds", passages, HashEncoder(), lambda *_: None)
    with serving(hash_settings) as client:
        rows = client.post("/rerank", json={"query": "owl", "collection": "birds"}).json()["results"]
        assert rows[0]["document"] == {"id": "a", "title": "Owls", "text": "an owl song", "metadata": {}}
        bare = client.post("/rerank", json={"query": "owl", "collection": "birds", "return_documents": False})
        assert "document" not in bare.json()["results"][0]
        for name in ("fish", "鳥" * 64):
            problem(client.post("/rerank", json={"query": "owl", "collection": name}), 404, f"no collection '{name}'")
    default = hash_settings.model_copy(update={"default_collection": "birds"})
    with serving(default) as client:
        assert client.post("/rerank", json={"query": "owl"}).json()["results"] == rows


def test_candidates_by_words_may_be_none(hash_settings):
    build(hash_settings.collections_dir / "birds", [Passage("a", "", "an owl song")], HashEncoder(), lambda *_: None)
    words = hash_settings.model_copy(update={"first_stage": FirstStageSettings(dense=0)})
    with serving(words) as client:
        for method in ("classical", "quantum", "hybrid"):
            body = {"query": "zeppelin", "collection": "birds", "method": method}
            answer = client.post("/rerank", json=body).json()
            assert (answer["results"], answer["meta"]["best"], answer["meta"]["answerable"]) == ([], 0, False)
            assert client.post("/rerank", json=body | {"query": "owl"}).json()["results"][0]["index"] == 0
        streamed = client.post("/v1/rerank/stream", json={"query": "zeppelin", "collection": "birds"})
        assert streamed.status_code == 200
        assert "error" not in streamed.text


def test_a_damaged_collection_is_refused(hash_settings):
    (hash_settings.collections_dir / "birds").mkdir(parents=True)
    with serving(hash_settings) as client:
        response = client.post("/rerank", json={"query": "owl", "collection": "birds"})
        problem(response, 503, "'birds' is damaged: ")
        assert response.json()["error_type"] == "damaged-collection"
        assert str(hash_settings.data_dir) not in response.text


def test_an_unexpected_error_is_a_500_without_its_message(client: TestClient):
    def crash(*_, **__):
        raise ZeroDivisionError("secret")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client.app.state.dependencies.engine.models.default, "rerank", crash)
        problem(client.post("/rerank", json=BODY), 500, "its log says why")
    assert client.post("/rerank", json=BODY).status_code == 200


def test_every_status_is_known_to_clients():
    assert {int(entry.status) for entry in ERRORS.values()} <= {
        400,
        401,
        403,
        404,
        408,
        409,
        413,
        422,
        429,
        500,
        502,
        503,
        504,
    }


@pytest.mark.parametrize("deadline_ms", [0, 500_000, 599_999.5, None])
def test_a_long_deadline_changes_nothing(client, deadline_ms):
    meta = client.post("/rerank", json=BODY | {"deadline_ms": deadline_ms}).json()["meta"]
    assert (meta["encoded"], meta["degraded"]) == (3, [])


def test_a_missed_deadline_is_reported(client):
    new = BODY | {"documents": ["a text that", "nobody has", "sent before"]}
    body = client.post("/rerank", json=new | {"deadline_ms": 0.001, "method": "classical"}).json()
    assert body["meta"]["encoded"] == 0
    assert body["meta"]["degraded"] == ["deadline"]
    assert sorted(row["index"] for row in body["results"]) == [0, 1, 2]


def test_the_default_deadline_is_a_setting(tmp_path):
    body = {"query": "owl", "documents": [f"{i} owl " * 50 for i in range(900)]}
    for milliseconds, degraded in ((1, ["deadline"]), (0, [])):
        settings = Settings(model="hash", data_dir=tmp_path, engine={"deadline_ms": milliseconds})
        with serving(settings) as client:
            assert client.post("/rerank", json=body).json()["meta"]["degraded"] == degraded


@pytest.mark.parametrize("deadline_ms", [-1, 600_001, "soon", []])
def test_an_invalid_deadline_is_refused(client, deadline_ms):
    problem(client.post("/rerank", json=BODY | {"deadline_ms": deadline_ms}), 422, "deadline_ms")


OWLS = {"query": "owl song", "documents": ["market prices", "an owl song", "an owl", "river stone"]}


def test_nothing_below_min_score_is_returned(client):
    scores = [row["relevance_score"] for row in client.post("/rerank", json=OWLS).json()["results"]]
    for least in (0, scores[2], scores[0], 1):
        answer = client.post("/rerank", json=OWLS | {"min_score": least}).json()
        assert [row["relevance_score"] for row in answer["results"]] == [score for score in scores if score >= least]
        assert answer["meta"]["best"] == scores[0]
        assert answer["meta"]["answerable"] is (scores[0] >= (least or 0.5))
    assert client.post("/rerank", json=OWLS | {"min_score": 1}).json()["results"] == []


@pytest.mark.parametrize(
    ("path", "body", "rows"),
    [
        ("/rerank", {"query": "owl song", "texts": OWLS["documents"]}, None),
        ("/rerank", OWLS | {"top_k": 4, "truncation": True}, "data"),
        ("/v1/reranking", {"query": "owl song", "input": OWLS["documents"]}, "data"),
    ],
)
def test_every_dialect_takes_min_score(client, path, body, rows):
    few, all_of_them = (client.post(path, json=body | extra).json() for extra in ({"min_score": 1}, {}))
    assert len(few[rows] if rows else few) == 0
    assert len(all_of_them[rows] if rows else all_of_them) == 4


def test_the_setting_is_the_default_of_min_score(tmp_path):
    with serving(Settings(model="hash", data_dir=tmp_path, min_score=1)) as client:
        assert client.post("/rerank", json=OWLS).json()["results"] == []
        assert len(client.post("/rerank", json=OWLS | {"min_score": 0}).json()["results"]) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"top_n": 1e30}, "top_n: is too large a number"),
        ({"min_score": 2}, "min_score: "),
        ({"min_score": -0.1}, "min_score: "),
        ({"min_score": True}, "min_score: must be a number, not true"),
        ({"min_score": "high"}, "min_score: "),
        ({"diversity": 2}, "diversity: "),
        ({"diversity": -0.1}, "diversity: "),
        ({"diversity": "a"}, "diversity: "),
        ({"diversity": True}, "diversity: must be a number, not true"),
        ({"language": "xx"}, "language: must be auto, none or the code of a known language: ar, bg"),
        ({"language": "english"}, "language: must be auto"),
        ({"language": 3}, "language: "),
    ],
)
def test_a_wrong_threshold_diversity_or_language_is_refused(client, change, message):
    response = client.post("/rerank", json=OWLS | change)
    assert response.status_code == 422
    assert message in response.text


def test_raw_scores_are_log_odds(client):
    plain, raw = (client.post("/rerank", json=OWLS | {"raw_scores": raw}).json()["results"] for raw in (False, True))
    for one, other in zip(plain, raw, strict=True):
        assert other["relevance_score"] == pytest.approx(
            math.log(one["relevance_score"] / (1 - one["relevance_score"]))
        )


def test_explain_shows_the_evidence(client):
    first, *_ = client.post("/rerank", json=OWLS | {"explain": True}).json()["results"]
    assert set(first["scores"]) == {"classical", "quantum", "lexical"}
    assert set(first["evidence"]) == {"coverage", "log_fidelity", "log_odds"}
    assert first["evidence"]["coverage"] == pytest.approx(1)
    assert first["evidence"]["log_fidelity"] <= 0


def test_the_language_decides_which_words_are_one(client):
    body = {"query": "Häuser", "documents": ["Maus", "Haus"], "explain": True}

    def lexical(language):
        rows = client.post("/rerank", json=body | {"language": language}).json()["results"]
        return {row["index"]: row["scores"]["lexical"] for row in rows}

    assert lexical("de")[1] > 0 == lexical("de")[0]
    assert lexical("none")[1] == 0


def test_a_languages_terms_do_not_stay_in_the_cache(client):
    body = {"query": "Häuser", "documents": ["Maus", "Haus"], "explain": True}
    before = client.post("/rerank", json=body).json()["results"]
    client.post("/rerank", json=body | {"language": "de"})
    assert client.post("/rerank", json=body).json()["results"] == before


def test_a_long_document_tells_how_much_was_read(client):
    long = "owl " * 20_000
    answer = client.post("/rerank", json={"query": "owl", "documents": [long, "an owl"]}).json()
    tokens = {row["index"]: row["tokens"] for row in answer["results"]}
    assert tokens[1] == {"read": 2, "of": 2}
    assert tokens[0]["read"] == 16 * 512
    assert tokens[0]["of"] > 16 * 512
    assert answer["meta"]["degraded"] == ["chunks"]


def test_a_query_that_is_longer_than_its_chunks_is_said_to_be(tmp_path):
    settings = Settings(model="hash", data_dir=tmp_path, limits={"query_characters": 100_000})
    with serving(settings) as client:
        for words, degraded in ((16 * 512, []), (16 * 512 + 1, ["query"])):
            body = {"query": "owl " * words, "documents": ["an owl"]}
            assert client.post("/rerank", json=body).json()["meta"]["degraded"] == degraded


STRANGE = {
    "marks": "\u0301" * 500,
    "right-to-left with digits": "שלום 123 مرحبا ٤٥٦",
    "emoji": "👨‍👩‍👧‍👦👩🏽‍🚀🏴󠁧󠁢󠁥󠁮󠁧󠁿 🇩🇪",
    "one word": "ж" * 50_000,
    "Thai": "ภาษาไทยง่ายมาก" * 50,
    "lone": "\u202e\u2066owl\u2069",
}


@pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("method", ["classical", "quantum", "hybrid"])
def test_strange_texts_get_finite_and_stable_scores(client, method, text):
    body = {"query": "owl song", "documents": [text, "an owl song", text + " owl"], "method": method}
    once, again = (client.post("/rerank", json=body).json()["results"] for _ in range(2))
    assert once == again
    assert all(0 < row["relevance_score"] < 1 for row in once)
    asked = client.post("/rerank", json={"query": text[:9000] + "x", "documents": ["an owl", text], "method": method})
    assert asked.status_code == 200


COPIES = {"query": "owl night", "documents": ["an owl at night"] * 3 + ["owl", "night"], "method": "classical"}


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank/stream"])
def test_diversity_sets_copies_apart(client, path):
    def indices(**change):
        answer = client.post(path, json=COPIES | change)
        if path == "/rerank":
            body = answer.json()
        else:
            body = json.loads([line for line in answer.text.splitlines() if line.startswith("data: {")][-1][6:])
        return [result["index"] for result in body["results"]], body["meta"], body["results"]

    plain, meta, _ = indices()
    assert sorted(plain[:3]) == [0, 1, 2]
    assert "near_duplicates" not in meta
    diverse, meta, results = indices(diversity=1)
    assert sorted(diverse[:3]) == [0, 3, 4]
    assert meta["near_duplicates"] == 0.4
    scores = [result["relevance_score"] for result in results]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 5


def test_no_diversity_is_the_same_answer(client):
    def results(**change):
        return client.post("/rerank", json=COPIES | change).json()["results"]

    assert results() == results(diversity=0) == results(diversity=None)


def test_the_setting_is_the_default_of_diversity(tmp_path):
    with serving(Settings(model="hash", data_dir=tmp_path, diversity=1)) as client:
        first = [result["index"] for result in client.post("/rerank", json=COPIES).json()["results"]]
        assert sorted(first[:3]) == [0, 3, 4]


def test_a_diversity_that_is_no_number_is_bad_json(client):
    body = json.dumps(COPIES | {"diversity": float("nan")})
    assert client.post("/rerank", content=body, headers={"content-type": "application/json"}).status_code == 400
