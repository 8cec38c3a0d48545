"""Collections over HTTP, against the real application with the weight-free model."""

import json
from itertools import count
from urllib.parse import quote, unquote

import pytest

from app.service.collections import OpenCollections
from app.service.indexing import Indexing, _InBackground
from retrieval.errors import CollectionError, CollectionUnwritable
from retrieval.index.segment import BLOCK
from retrieval.store.collection import Collection
from retrieval.store.documents import PAGE_CHARACTERS, Documents
from retrieval.store.rows import Document
from tests.app.problems import problem
from tests.conftest import serving
from tests.indexers import indexed_elsewhere
from tests.waiting import eventually, try_to_remove

AS_LINES = {"Content-Type": "application/x-ndjson"}
OWL = {"id": "owl", "text": "An owl hunts at night.", "title": "Owls", "metadata": {"page": 3, "tags": ["ä"]}}
LAMP = {"id": "a/b c", "text": "  A lamp in the hall.\n"}


def nested(levels):
    """Metadata with lists in lists below a field."""
    return {"a": json.loads("[" * levels + "]" * levels)}


@pytest.fixture
def birds(client):
    """A client, and a collection of two documents."""
    assert client.put("/v1/collections/birds").status_code == 201
    put(client, [OWL, LAMP])
    return client


def put(client, documents, wait="searchable", name="birds"):
    answer = client.post(f"/v1/collections/{name}/documents", json={"documents": documents, "wait": wait})
    assert answer.status_code == 200, answer.text
    return answer.json()


def found(client, query, **fields):
    answer = client.post("/v1/collections/birds/search", json={"query": query, **fields})
    assert answer.status_code == 200, answer.text
    return [row["document"]["id"] for row in answer.json()["results"]]


def test_a_collection_is_made_described_listed_and_deleted(client):
    expected = {
        "name": "birds",
        "documents": 0,
        "passages": 0,
        "waiting": 0,
        "failed": 0,
        "model": "hash",
        "language": "auto",
        "encoding": None,
        "chunking": {"by": "sentence", "size": None, "overlap": 0},
        "aliases": [],
    }
    made = client.put("/v1/collections/birds")
    assert (made.status_code, made.json()) == (201, expected)
    again = client.put("/v1/collections/birds", json={"model": "hash", "language": "auto"})
    assert (again.status_code, again.json()) == (200, expected)
    by_its_number = client.put("/v1/collections/birds", json={"chunking": {"by": "sentence", "size": 511}})
    assert (by_its_number.status_code, by_its_number.json()) == (200, expected), "as older versions kept it"
    for other in ({"language": "de"}, {"chunking": {"by": "none"}}, {"chunking": {"by": "sentence", "overlap": 16}}):
        problem(client.put("/v1/collections/birds", json=other), 409, "delete it first")
    assert client.get("/v1/collections/birds").json() == expected
    assert client.get("/v1/collections").json() == {"object": "list", "data": [expected]}
    assert client.delete("/v1/collections/birds").status_code == 204
    for answer in (
        client.get("/v1/collections/birds"),
        client.delete("/v1/collections/birds"),
        client.get("/v1/collections/birds/documents"),
        client.post("/v1/collections/birds/documents", json={"documents": [OWL]}),
        client.post("/v1/collections/birds/search", json={"query": "owl"}),
    ):
        problem(answer, 404, "there is no collection 'birds'")
    assert client.get("/v1/collections").json()["data"] == []


LONG = {"id": "long", "title": "Birds", "text": "".join(f"Bird {at} sings. " for at in range(40)) + "The owl hunts."}


def test_long_documents_are_found_by_their_chunks(client):
    made = client.put("/v1/collections/birds", json={"chunking": {"by": "sentence", "size": 40, "overlap": 5}})
    assert made.json()["chunking"] == {"by": "sentence", "size": 40, "overlap": 5}
    put(client, [LONG, OWL])
    assert client.get("/v1/collections/birds").json()["passages"] == 5
    results = client.post("/v1/collections/birds/search", json={"query": "The owl hunts"}).json()["results"]
    shown = {row["document"]["text"]: row["document"] for row in results}
    assert "chunk" not in shown[OWL["text"]]
    [last] = [document for text, document in shown.items() if text.endswith("The owl hunts.")]
    assert last["id"] == "long"
    assert last["title"] == "Birds"
    assert LONG["text"][last["chunk"]["start"] : last["chunk"]["end"]] == last["text"]
    put(client, [{**LONG, "text": "Only a lamp."}])
    assert client.get("/v1/collections/birds").json()["passages"] == 2


def test_grouped_results_are_documents_by_their_best_chunks(client):
    client.put("/v1/collections/birds", json={"chunking": {"by": "sentence", "size": 40}})
    texts = {f"d{at}": "".join(f"Bird {at} sings {n}. " for n in range(60)) for at in range(4)}
    put(client, [{"id": name, "text": text} for name, text in texts.items()])
    query = {"query": "Bird 2 sings", "group_by": "document"}
    results = client.post("/v1/collections/birds/search", json=query).json()["results"]
    assert sorted(row["document"]["id"] for row in results) == sorted(texts)
    assert results[0]["document"]["id"] == "d2"
    assert results[0]["document"]["text"] in texts["d2"]
    assert [row["relevance_score"] for row in results] == sorted((r["relevance_score"] for r in results), reverse=True)
    assert len(found(client, "Bird 2 sings", group_by="document", top_n=3)) == 3
    assert len(found(client, "Bird 2 sings")) > 4
    assert found(client, "Bird 2 sings", group_by="passage") == found(client, "Bird 2 sings")
    answer = client.post("/rerank", json={"collection": "birds", "top_n": 2, **query}).json()
    assert answer["results"] == results[:2]
    problem(client.post("/v1/collections/birds/search", json={"query": "x", "group_by": "page"}), 422, "group_by")


@pytest.mark.parametrize(
    ("chunking", "reason"),
    [
        ({"by": "token", "size": 512}, "size: from 32 to 511"),
        ({"by": "token", "size": 40, "overlap": 21}, "overlap: from 0 to half of the size, 20"),
        ({"by": "none", "size": 40}, "none splits nothing"),
        ({"by": "page"}, "sentence"),
        ({"size": 40}, "by"),
    ],
)
def test_a_chunking_that_cannot_be_is_refused(client, chunking, reason):
    problem(client.put("/v1/collections/birds", json={"chunking": chunking}), 422, reason)
    assert client.get("/v1/collections").json()["data"] == []


def test_documents_come_back_as_they_were_sent(birds):
    for sent in (OWL, LAMP):
        kept = {"title": "", "metadata": {}} | sent
        assert birds.get(f"/v1/collections/birds/documents/{sent['id']}").json() == kept
    problem(birds.get("/v1/collections/birds/documents/none"), 404, "no document with this id")
    assert birds.get("/v1/collections/birds").json() | {"documents": 2, "passages": 2, "waiting": 0} == (
        birds.get("/v1/collections/birds").json()
    )


def test_documents_may_have_their_id_as_corpora_do(client, birds):
    """BEIR's corpora and the command line's exports have `_id`, exports of databases numbers."""
    sent = [{"id": None, "_id": "owl-1", "text": "An owl hunts."}, {"_id": 2, "text": "", "title": "A swift flies."}]
    sent += [{"id": 3, "text": "A wren sings."}]
    lines = "\n".join(
        map(json.dumps, [*sent, {"_id": True, "text": "No id."}, {"_id": "x", "id": "y", "text": "Two."}])
    )
    answer = birds.post("/v1/collections/birds/documents", content=lines, headers=AS_LINES).json()
    assert (answer["stored"], answer["rejected"]) == (3, 2)
    assert [failure["line"] for failure in answer["failed"]] == [4, 5]
    assert birds.post("/v1/collections/birds/documents", json={"documents": sent}).json()["changed"] == 0
    assert birds.get("/v1/collections/birds/documents/2").json()["title"] == "A swift flies."
    joined = birds.post("/v1/collections/birds/documents?wait=searchable", content=lines, headers=AS_LINES).json()
    ranked = birds.post("/v1/collections/birds/search", json={"query": "wren", "ids": [3]}).json()
    assert (joined["searchable"], [row["document"]["id"] for row in ranked["results"]]) == (True, ["3"])
    assert birds.post("/v1/collections/birds/documents/delete", json={"ids": [3]}).json() == {"deleted": 1}


def test_lines_whose_breaks_were_taken_out_say_how_to_send_them(birds):
    """As curl's -d does with a file."""
    lines = '{"id": "a", "text": "owl"}{"id": "b", "text": "owl"}'
    answer = birds.post("/v1/collections/birds/documents", content=lines, headers=AS_LINES)
    problem(answer, 422, "send one document a line, by curl with -T or --data-binary")


def test_what_is_put_is_found_and_what_is_deleted_is_not(birds):
    assert found(birds, "owl")[0] == "owl"
    rows = birds.post("/v1/collections/birds/search", json={"query": "owl", "top_n": 1}).json()["results"]
    assert rows[0]["document"] == OWL
    reranked = birds.post("/rerank", json={"query": "owl", "collection": "birds", "top_n": 1}).json()["results"]
    assert reranked == rows
    put(birds, [OWL | {"text": "A river and a stone."}])
    assert found(birds, "river", top_n=1) == ["owl"]
    assert birds.delete("/v1/collections/birds/documents/owl").json() == {"deleted": 1}
    assert found(birds, "river") == ["a/b c"]
    problem(birds.delete("/v1/collections/birds/documents/owl"), 404, "no document with this id")
    assert birds.post("/v1/collections/birds/documents/delete", json={"ids": ["a/b c", "x"]}).json() == {"deleted": 1}
    assert found(birds, "lamp") == []


def test_unchanged_documents_are_not_indexed_again(birds):
    answer = put(birds, [OWL, LAMP], "stored")
    assert answer == {
        "stored": 2,
        "changed": 0,
        "searchable": True,
        "rejected": 0,
        "failed": [],
        "job": answer["job"],
    }
    assert put(birds, [OWL | {"metadata": {"page": 4}}], "stored")["changed"] == 0
    assert birds.get("/v1/collections/birds/documents/owl").json()["metadata"] == {"page": 4}


@pytest.mark.parametrize(
    "body", ['{"id": "a", "text": "owl"}\n{"id": "b", "text": "owl"}', '{"id": "a", "text": "owl"}']
)
@pytest.mark.parametrize("kind", ["text/plain", "application/json"])
def test_lines_that_are_not_said_to_be_lines_say_what_to_do(birds, body, kind):
    answer = birds.post("/v1/collections/birds/documents", content=body, headers={"Content-Type": kind})
    problem(answer, 400 if "\n" in body else 422, "need Content-Type: application/x-ndjson")


@pytest.mark.parametrize(("given", "told"), [({"id": 7}, "7"), ({"id": None, "_id": "x"}, "x"), ({"id": True}, None)])
def test_a_document_that_is_refused_is_named_as_it_was(birds, given, told):
    documents = [OWL, {**given, "text": ""}]
    answer = birds.post("/v1/collections/birds/documents", json={"documents": documents}).json()
    assert [failure["id"] for failure in answer["failed"]] == [told]


def test_of_an_id_that_comes_twice_the_last_counts(birds):
    answer = put(birds, [OWL | {"text": "first"}, OWL | {"text": "second"}])
    assert (answer["stored"], answer["changed"]) == (1, 1)
    assert birds.get("/v1/collections/birds/documents/owl").json()["text"] == "second"
    assert found(birds, "first second").count("owl") == 1


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"id": "x", "text": ""}, "text: must not be empty"),
        ({"id": "x", "text": " \u200b", "title": "\n"}, "text: must not be empty"),
        ({"id": "x"}, "text: is required"),
        ({"id": "x", "text": None}, "text: is required"),
        ({"id": "", "text": "a"}, "id: must not be empty"),
        ({"id": "鳥" * 200, "text": "a"}, "id: has more than 512 bytes"),
        ({"id": 0.7, "text": "a"}, "id: "),
        ({"id": "a\nb", "text": "a"}, "id: has control characters"),
        ({"id": "..", "text": "a"}, "id: must not be `.` or `..`"),
        ({"id": "a/../../b", "text": "a"}, "id: must not be `.` or `..`"),
        ({"id": "x", "text": "a", "metadata": {"m": "x" * 2**16}}, "metadata: takes more than 65536 bytes"),
        ({"id": "x", "text": "a", "metadata": [1]}, "metadata: "),
        ({"id": "x", "text": "a", "metadata": {"a": [{"b\0": 1}]}}, "metadata: has a name with the character U+0000"),
        ({"id": "x", "text": "a", "metadata": nested(200)}, "metadata: is nested deeper than 200 levels"),
        ({"id": "x", "text": "a", "txt": "b"}, "txt: is not known here; put it into `metadata`"),
        ("a", "the document: must be a JSON object"),
        (None, "the document: must be a JSON object"),
    ],
)
def test_a_document_that_is_not_valid_is_named_and_the_others_are_kept(birds, document, error):
    answer = put(birds, [document, {"id": "kept", "text": "a stone"}])
    assert (answer["stored"], len(answer["failed"])) == (1, 1)
    failure = answer["failed"][0]
    assert failure["index"] == 0
    assert failure["error"].startswith(error)
    assert found(birds, "stone", top_n=1) == ["kept"]
    alone = birds.post("/v1/collections/birds/documents", json={"documents": [document]})
    problem(alone, 422, "no document is valid")


def test_null_means_the_same_as_leaving_a_field_out(client):
    chunking = {"by": "token", "size": 64, "overlap": None}
    made = client.put("/v1/collections/birds", json={"model": None, "language": None, "chunking": chunking})
    assert made.json()["chunking"] == chunking | {"overlap": 0}
    documents = [OWL | {"title": None, "metadata": None}]
    assert put(client, documents, wait=None)["rejected"] == 0
    assert put(client, documents)["searchable"]
    assert client.get("/v1/collections/birds/documents/owl").json() == OWL | {"title": "", "metadata": {}}
    search = {"query": "owl", "collection": None, "documents": None, "candidates": None, "filter": None, "ids": None}
    assert client.post("/v1/collections/birds/search", json=search).json()["results"][0]["document"]["id"] == "owl"
    assert client.post("/v1/collections/birds/documents/delete", json={"ids": ["owl"], "filter": None}).json() == {
        "deleted": 1
    }


def test_metadata_may_be_nested_as_deep_as_all_answers_can_return(birds):
    put(birds, [OWL | {"metadata": nested(199)}])
    assert birds.get("/v1/collections/birds/documents/owl").json()["metadata"] == nested(199)
    answer = birds.post("/v1/collections/birds/search", json={"query": "owl", "filter": {"exists": "a"}}).json()
    assert answer["results"][0]["document"]["metadata"] == nested(199)


def test_ndjson_is_read_line_by_line(birds):
    lines = [json.dumps({"id": "c", "text": "a stone"}), "", '{"id": ', json.dumps({"id": "d", "text": "a river"})]
    answer = birds.post(
        "/v1/collections/birds/documents?wait=searchable",
        content="\ufeff" + "\r\n".join(lines),
        headers={"content-type": "application/x-ndjson; charset=utf-8"},
    ).json()
    assert (answer["stored"], answer["changed"], answer["searchable"]) == (2, 2, True)
    assert [(each["index"], each["line"], each["id"]) for each in answer["failed"]] == [(1, 3, None)]
    assert found(birds, "stone", top_n=1) == ["c"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"documents": []}, "there are no documents"),
        ({"documents": {}}, "documents: must be a list"),
        ({"docs": [OWL]}, "docs is not known here"),
        ([OWL], "must be a JSON object"),
        ({"documents": [OWL], "wait": "soon"}, "wait: must be stored or searchable"),
    ],
)
def test_a_body_that_holds_no_documents_is_refused(birds, body, message):
    problem(birds.post("/v1/collections/birds/documents", json=body), 422, message)


def test_the_address_may_say_what_to_wait_for(birds):
    path, body = "/v1/collections/birds/documents", {"documents": [OWL], "wait": "stored"}
    assert birds.post(path + "?wait=searchable", json=body).json()["searchable"] is True
    problem(birds.post(path + "?wait=soon", json=body), 422, "wait: must be stored or searchable")


@pytest.mark.parametrize("name", [".old", "-", "a b", "%00", "🐦" * 64, "x" * 65, "鳥" * 86, "ที่", "a\u200db"])
def test_a_name_that_no_collection_can_have_is_refused(client, name):
    for answer in (client.put(f"/v1/collections/{name}"), client.get(f"/v1/collections/{name}")):
        assert answer.status_code in {400, 422}
    for answer in (
        client.put("/v1/aliases/birds", json={"collection": unquote(name)}),
        client.post("/rerank", json={"query": "owl", "collection": unquote(name)}),
    ):
        problem(answer, 422, "collection: a name is up to 64 letters")
    assert client.get("/v1/collections").json()["data"] == []


def test_a_name_may_have_64_letters_of_any_script(client):
    name = "鳥" * 64
    assert client.put(f"/v1/collections/{name}").status_code == 201
    assert client.get(f"/v1/collections/{name}").json()["name"] == name
    assert client.delete(f"/v1/collections/{name}").status_code == 204


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"model": "none"}, "model: none of this name is served"),
        ({"language": "xx"}, "language: must be auto"),
        ({"chunks": 3}, "chunks"),
    ],
)
def test_a_collection_that_cannot_be_made_is_refused(client, body, message):
    problem(client.put("/v1/collections/birds", json=body), 422, message)
    assert client.get("/v1/collections").json()["data"] == []


@pytest.mark.parametrize(
    "accept",
    [
        "application/x-ndjson",
        "application/x-ndjson, */*;q=0.1",
        "*/*, Application/JSONL;q=1",
        "application/x-jsonlines; q=0.5, application/json;q=0.50",
    ],
)
def test_all_documents_are_exported_for_whoever_takes_ndjson(birds, accept):
    answer = birds.get("/v1/collections/birds/documents?limit=1", headers={"accept": accept})
    assert [json.loads(line)["id"] for line in answer.text.splitlines()] == [OWL["id"], LAMP["id"]]


@pytest.mark.parametrize(
    "accept",
    ["*/*", "application/x-ndjson;q=0, */*", "application/json, application/x-ndjson;q=0.1", "application/jsonl;q=0.0"],
)
def test_whoever_prefers_json_gets_a_page(birds, accept):
    answer = birds.get("/v1/collections/birds/documents?limit=1", headers={"accept": accept})
    assert [document["id"] for document in answer.json()["data"]] == [OWL["id"]]


@pytest.mark.parametrize("mistyped", ["filters={}", "Limit=1", "limit=1&foo=", "offset=3"])
def test_a_mistyped_parameter_does_not_give_everything(birds, mistyped):
    address = f"/v1/collections/birds/documents?{mistyped}"
    problem(birds.get(address), 422, "`after`, `filter`, `limit`")
    problem(birds.get(address, headers={"accept": "application/x-ndjson"}), 422, "`after`, `filter`, `limit`")
    problem(birds.post(address, json={"documents": [{"id": "c", "text": "a stone"}]}), 422, "`wait`")
    assert len(birds.get("/v1/collections/birds/documents").json()["data"]) == 2


def test_documents_are_listed_page_by_page(birds):
    put(birds, [{"id": str(at), "text": f"stone {at}"} for at in range(5)])
    seen, after = [], 0
    while after is not None:
        page = birds.get("/v1/collections/birds/documents", params={"after": after, "limit": 3}).json()
        seen += [document["id"] for document in page["data"]]
        after = page["next"]
    assert seen == ["owl", "a/b c", "0", "1", "2", "3", "4"]
    for name, value in (("after", "-1"), ("limit", "0"), ("limit", "1001"), ("limit", "x")):
        problem(birds.get("/v1/collections/birds/documents", params={name: value}), 422, f"{name}: must be a whole")


@pytest.mark.parametrize("wanted", ["", "&filter=" + quote('{"exists": "number"}')])
def test_a_page_of_long_documents_ends_early(birds, wanted):
    half = "owl " * (PAGE_CHARACTERS // 7)
    put(birds, [{"id": str(at), "text": f"{at} {half}", "metadata": {"number": at}} for at in range(5)], "stored")
    pages, after = [], 0
    while after is not None:
        page = birds.get(f"/v1/collections/birds/documents?limit=1000{wanted}&after={after}").json()
        pages.append([document["id"] for document in page["data"] if document["id"].isdigit()])
        after = page["next"]
    assert [of for page in pages for of in page] == ["0", "1", "2", "3", "4"]
    assert [len(page) for page in pages] == [2, 2, 1]


@pytest.mark.parametrize("name", ["documents", "candidates", "ids", "exclude"])
def test_the_lists_of_a_search_are_counted_before_they_are_read(birds, name):
    fields = {"query": "owl", name: [{}] * 1001}  # of which none is valid
    problem(birds.post("/v1/collections/birds/search", json=fields), 413, "at most 1000")


def test_a_search_is_of_the_collection_in_its_path(birds):
    for fields in ({"documents": ["a"]}, {"candidates": ["a"]}, {"collection": "bees"}):
        answer = birds.post("/v1/collections/birds/search", json={"query": "owl"} | fields)
        problem(answer, 422, "a search is of the collection in its path")
    problem(birds.post("/v1/collections/birds/search", json={"query": " "}), 422, "query")
    lamp = []
    for fields in ({}, {"exclude": ["lamp"]}):
        answer = birds.post("/v1/collections/birds/search", json={"query": "owl lamp", **fields}).json()
        lamp += [row["relevance_score"] for row in answer["results"] if row["document"]["id"] == LAMP["id"]]
    assert lamp[0] > lamp[1]


def test_documents_that_another_process_left_become_searchable(birds, hash_settings):
    Collection(hash_settings.collections_dir / "birds").put([Document("left", "a stone by the river")])
    eventually(lambda: found(birds, "stone", top_n=1) == ["left"])


def test_while_another_process_indexes_documents_are_taken_and_wait(birds, hash_settings):
    with indexed_elsewhere(hash_settings.collections_dir / "birds"):
        answer = put(birds, [{"id": "new", "text": "a stone"}], "stored")
        assert (answer["stored"], answer["searchable"]) == (1, False)
        assert birds.get("/v1/collections/birds").json()["waiting"] == 1
        assert found(birds, "owl", top_n=1) == ["owl"]
    eventually(lambda: found(birds, "stone", top_n=1) == ["new"])


def test_a_disk_that_takes_no_writes_is_said_and_searches_go_on(birds, monkeypatch):
    def full(*_):
        raise CollectionUnwritable("collection birds cannot be written: database or disk is full")

    monkeypatch.setattr(Documents, "put", full)
    answer = birds.post("/v1/collections/birds/documents", json={"documents": [OWL]})
    problem(answer, 503, "takes no writes")
    assert answer.headers["retry-after"] == "5"
    assert found(birds, "owl", top_n=1) == ["owl"]


def test_a_collection_that_is_deleted_while_it_is_indexed_does_not_come_back(birds, hash_settings, monkeypatch):
    collection = Collection(hash_settings.collections_dir / "birds")
    with indexed_elsewhere(collection.folder):
        put(birds, [{"id": "new", "text": "a stone"}], "stored")
        eventually(lambda: try_to_remove(collection.folder))
    eventually(lambda: birds.get("/v1/collections/birds").status_code == 404)
    assert birds.put("/v1/collections/bees").status_code == 201
    put(birds, [OWL], name="bees")
    assert not collection.folder.exists()


def test_a_document_whose_collection_is_deleted_is_not_encoded_to_its_end(client, monkeypatch):
    encode, calls, deletions = _InBackground.encode_tokens, [], []

    def deleting(self, tokens):
        calls.append(len(tokens))
        if len(calls) == 3:
            deletions.append(client.delete("/v1/collections/birds").status_code)
        return encode(self, tokens)

    client.put("/v1/collections/birds", json={"chunking": {"by": "token", "size": 32}})
    monkeypatch.setattr(_InBackground, "encode_tokens", deleting)
    put(client, [{"id": "long", "text": "owl " * 32 * 10 * BLOCK}], "stored")
    eventually(lambda: deletions == [204])
    client.put("/v1/collections/birds")
    assert put(client, [OWL])["searchable"]
    assert len(calls) <= 7, "three, those that were ahead, and the one of the new collection"


def test_a_fault_of_the_indexer_leaves_documents_waiting(birds, monkeypatch, caplog):
    monkeypatch.setattr(Indexing, "_encoder", lambda *_: (_ for _ in ()).throw(ValueError("a fault")))
    sent = count()

    def is_said():  # by the turn after the one that may be under way, which has its model
        put(birds, [{"id": "new", "text": f"a stone {next(sent)}"}], "stored")
        return "cannot be indexed" in caplog.text

    eventually(is_said)
    assert birds.get("/v1/collections/birds").json()["waiting"] == 1
    assert found(birds, "owl", top_n=1) == ["owl"]


def test_roles_and_quotas_apply(tmp_path, hash_settings):
    auth = {"enabled": True, "keys": ("a key of some characters",)}
    settings = type(hash_settings)(model="hash", data_dir=tmp_path, auth=auth)
    with serving(settings) as client:
        for method, path in (
            ("PUT", "/v1/collections/birds"),
            ("GET", "/v1/collections"),
            ("POST", "/v1/collections/birds/documents"),
            ("DELETE", "/v1/collections/birds"),
            ("POST", "/v1/collections/birds/search"),
        ):
            problem(client.request(method, path), 401, "")
        client.headers["authorization"] = "Bearer a key of some characters"
        made = client.put("/v1/collections/birds")
        assert made.status_code == 201
        assert put(client, [OWL])["searchable"]


@pytest.mark.parametrize("i", ["a//b", "a/", "/", "delete", "?", "a b"])
def test_an_id_is_never_taken_for_another(birds, i):
    put(birds, [{"id": i, "text": "stone"}, {"id": "a/b", "text": "river"}, {"id": "a", "text": "song"}])
    address = f"/v1/collections/birds/documents/{quote(i, safe='')}"
    assert birds.get(address).json()["id"] == i
    assert birds.delete(address).json() == {"deleted": 1}
    problem(birds.get(address), 404, "no document with this id")
    assert {"a", "a/b"} <= {each["id"] for each in birds.get("/v1/collections/birds/documents").json()["data"]}


def test_what_still_waits_is_not_called_searchable(birds, hash_settings):
    """Sent again unchanged, it is as little searchable as before."""
    with indexed_elsewhere(hash_settings.collections_dir / "birds"):
        for _ in range(2):
            assert not put(birds, [{"id": "new", "text": "a stone"}], "stored")["searchable"]
    assert put(birds, [{"id": "new", "text": "a stone"}])["searchable"]


def test_a_damaged_collection_hides_no_others(birds, hash_settings):
    assert birds.put("/v1/collections/bees").status_code == 201
    (hash_settings.collections_dir / "bees" / "documents.sqlite").unlink()
    (hash_settings.collections_dir / "bees" / "documents.sqlite").write_bytes(b"not a database" * 400)
    assert [each["name"] for each in birds.get("/v1/collections").json()["data"]] == ["birds"]
    problem(birds.get("/v1/collections/bees"), 503, "'bees' is damaged")
    assert birds.delete("/v1/collections/bees").status_code == 204
    assert birds.put("/v1/collections/bees").status_code == 201


@pytest.mark.parametrize("method", ["get", "page", "counts", "put", "delete"])
def test_documents_that_cannot_be_read_any_more_are_said(birds, monkeypatch, method):
    def broken(*_):
        raise CollectionError("collection birds is damaged: database disk image is malformed")

    monkeypatch.setattr(Documents, method, broken)
    path = "/v1/collections/birds/documents"
    answer = {
        "get": lambda: birds.get(f"{path}/owl"),
        "page": lambda: birds.get(path),
        "counts": lambda: birds.get("/v1/collections/birds"),
        "put": lambda: birds.post(path, json={"documents": [OWL]}),
        "delete": lambda: birds.delete(f"{path}/owl"),
    }[method]()
    problem(answer, 503, "malformed")


@pytest.mark.parametrize("method", ["PUT", "GET", "POST", "DELETE"])
@pytest.mark.parametrize("below", ["", "/documents", "/search"])
def test_a_folder_without_a_collection_of_this_version_is_damaged_whatever_is_asked(
    client, hash_settings, method, below
):
    (hash_settings.collections_dir / "old").mkdir(parents=True)
    body = {"query": "owl"} if below == "/search" else {"documents": [OWL]} if below else {"model": None}
    answer = client.request(method, f"/v1/collections/old{below}", json=body if method in {"PUT", "POST"} else None)
    if answer.status_code != 405:
        problem(answer, 503, "holds no collection of this version")


def test_deleting_gives_space_back_without_further_documents(birds, hash_settings):
    put(birds, [{"id": str(at), "text": f"stone {at}"} for at in range(50)])
    folder = hash_settings.collections_dir / "birds" / "segments"
    before = {path.name for path in folder.iterdir()}
    ids = [str(at) for at in range(50)]
    assert birds.post("/v1/collections/birds/documents/delete", json={"ids": ids}).json() == {"deleted": 50}
    eventually(lambda: before - {path.name for path in folder.iterdir()})
    assert sorted(found(birds, "owl lamp")) == ["a/b c", "owl"]


def test_indexing_goes_on_after_the_folder_could_not_be_listed(birds, monkeypatch):
    names, calls = OpenCollections.names, []

    def once(self):
        calls.append(1)
        if len(calls) == 1:
            raise OSError(24, "Too many open files")
        return names(self)

    monkeypatch.setattr(OpenCollections, "names", once)
    assert put(birds, [{"id": "new", "text": "a stone"}])["searchable"]
    eventually(lambda: len(calls) > 1)  # a turn that had begun before may have found the document
