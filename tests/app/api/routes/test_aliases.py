"""Aliases over HTTP: another name for a collection, wherever a name is taken."""

import pytest

from app.service.collections import OpenCollections
from app.settings import Settings
from retrieval.store.aliases import point
from retrieval.store.collection import remove
from retrieval.store.jobs import Jobs
from tests.app.problems import problem
from tests.conftest import serving
from tests.waiting import eventually

DOCUMENTS = "/v1/collections/{}/documents"
LINES = {"content-type": "application/x-ndjson"}


def fill(client, name: str, text: str) -> None:
    assert client.put(f"/v1/collections/{name}").status_code == 201
    body = {"documents": [{"id": name, "text": text}], "wait": "searchable"}
    assert client.post(DOCUMENTS.format(name), json=body).json()["searchable"]


def lead(client, alias: str, name: str):
    return client.put(f"/v1/aliases/{alias}", json={"collection": name})


def found(client, name: str) -> list[str]:
    path = f"/v1/collections/{name}/search"
    return [row["document"]["id"] for row in client.post(path, json={"query": "owl"}).json()["results"]]


@pytest.fixture
def books(client):
    """A client, two collections, and an alias for the first one."""
    fill(client, "b.2025", "an old owl")
    fill(client, "b.2026", "a new owl")
    assert lead(client, "books", "b.2025").json() == {"object": "alias", "alias": "books", "collection": "b.2025"}
    return client


def test_an_alias_is_taken_wherever_a_name_is(books):
    assert found(books, "books") == ["b.2025"]
    reranked = books.post("/rerank", json={"query": "owl", "collection": "books"}).json()["results"]
    assert [row["document"]["id"] for row in reranked] == ["b.2025"]
    job = books.post(DOCUMENTS.format("books"), json={"documents": [{"id": "x", "text": "owl"}], "wait": "searchable"})
    assert books.get(f"/v1/jobs/{job.json()['job']}").json()["status"] == "done"
    assert books.get(DOCUMENTS.format("b.2025") + "/x").json() == books.get(DOCUMENTS.format("books") + "/x").json()
    assert books.get("/v1/collections/books").json()["documents"] == 2
    assert books.delete(DOCUMENTS.format("books") + "/x").json() == {"deleted": 1}
    open_ones = books.app.state.dependencies.collections.counts()
    assert set(open_ones) == {"b.2025"}, "a collection is in memory once, whatever it is called"


def test_an_alias_is_swapped_at_once_and_its_jobs_are_not_mixed_up(books):
    body = {"documents": [{"id": "x", "text": "owl"}]}
    jobs = [
        books.post(DOCUMENTS.format("books"), json=body).json()["job"],
        books.post(DOCUMENTS.format("books"), content=b'{"id": "y", "text": "owl"}', headers=LINES).json()["job"],
        books.post("/v1/collections/books/compact").json()["id"],
    ]
    assert {job["id"] for job in books.get("/v1/collections/books/jobs").json()["data"]} >= {*jobs}
    assert lead(books, "books", "b.2026").status_code == 200
    assert found(books, "books") == ["b.2026"]
    for job in jobs:
        assert books.get(f"/v1/jobs/{job}").json()["collection"] == "b.2025"
        problem(books.get(f"/v1/jobs/{job.replace('b.2025', 'books')}"), 404, "no job of this id")


def swapping(books, method):
    """A method that leads the alias to the other collection when it is done."""
    folder = books.app.state.dependencies.settings.collections_dir

    def swapped(*arguments):
        result = method(*arguments)
        point(folder, "books", "b.2026")
        return result

    return swapped


@pytest.mark.parametrize("fields", [{}, {"filter": {"exists": "year"}}, {"ids": ["same"]}])
def test_a_request_stays_with_one_collection_while_its_alias_is_swapped(books, monkeypatch, fields):
    for year in (2025, 2026):
        documents = [{"id": "same", "text": "an owl", "metadata": {"year": year}}]
        books.post(DOCUMENTS.format(f"b.{year}"), json={"documents": documents, "wait": "searchable"})
    monkeypatch.setattr(OpenCollections, "_get", swapping(books, OpenCollections._get))
    rows = books.post("/v1/collections/books/search", json={"query": "owl", **fields}).json()["results"]
    assert {row["document"]["id"]: row["document"]["metadata"].get("year") for row in rows}["same"] == 2025


def test_a_job_is_described_though_its_alias_is_swapped(books, monkeypatch):
    monkeypatch.setattr(Jobs, "request", swapping(books, Jobs.request))
    assert books.post("/v1/collections/books/compact").status_code == 200


def test_what_an_alias_led_to_may_be_deleted_at_once(books, monkeypatch):
    def deleted(self, asked, name, get=OpenCollections._get):
        if name == "b.2025":  # another request leads the alias elsewhere, and deletes what it led to
            point(self.folder(name).parent, "books", "b.2026")
            remove(self.folder(name))
        return get(self, asked, name)

    monkeypatch.setattr(OpenCollections, "_get", deleted)
    assert found(books, "books") == ["b.2026"]


def test_what_an_alias_led_to_is_not_named_once_it_is_gone(books):
    folder = books.app.state.dependencies.settings.collections_dir / "b.2025"
    folder.rename(folder.with_name("renamed"))
    for path in ("/rerank", "/v1/collections/books/search"):
        problem(books.post(path, json={"query": "owl", "collection": "books"}), 404, "there is no collection 'books'")


def test_space_is_given_back_of_what_was_deleted_by_a_filter_through_an_alias(books):
    segments = books.app.state.dependencies.settings.collections_dir / "b.2025" / "segments"
    before = {path.name for path in segments.iterdir()}
    assert books.post(DOCUMENTS.format("books") + "/delete", json={"filter": {"not": {"exists": "x"}}}).json() == {
        "deleted": 1
    }
    eventually(lambda: before.isdisjoint(path.name for path in segments.iterdir()))


def test_aliases_are_listed_beside_collections_and_not_as_such(books):
    assert lead(books, "all", "b.2025").status_code == 200
    assert [(each["alias"], each["collection"]) for each in books.get("/v1/aliases").json()["data"]] == [
        ("all", "b.2025"),
        ("books", "b.2025"),
    ]
    listed = books.get("/v1/collections").json()["data"]
    assert [(each["name"], each["aliases"]) for each in listed] == [("b.2025", ["all", "books"]), ("b.2026", [])]
    assert books.delete("/v1/aliases/all").status_code == 204
    problem(books.delete("/v1/aliases/all"), 404, "there is no alias 'all'")
    problem(books.delete("/v1/aliases/b.2025"), 404, "there is no alias")
    assert books.get("/v1/collections/b.2025").json()["aliases"] == ["books"]


def test_a_name_is_either_a_collection_or_an_alias(books):
    problem(lead(books, "b.2026", "b.2025"), 409, "b.2026 is a collection")
    problem(lead(books, "more", "books"), 409, "books is an alias")
    problem(lead(books, "more", "none"), 404, "there is no collection 'none'")
    problem(books.put("/v1/collections/books"), 409, "'books' is an alias")
    for name in ("../b.2025", "/etc", ".", ""):
        assert lead(books, "more", name).status_code == 422
    assert lead(books, ".more", "b.2025").status_code == 422
    problem(books.delete("/v1/collections/books"), 409, "'books' is an alias")
    problem(books.delete("/v1/collections/b.2025"), 409, "an alias leads to the collection")
    assert books.delete("/v1/collections/b.2026").status_code == 204
    assert found(books, "books") == ["b.2025"]


def test_a_limited_key_makes_no_way_around_its_limits(tmp_path):
    with serving(Settings(model="hash", data_dir=tmp_path, auth={"enabled": True})) as client:
        keys = client.app.state.dependencies.auth.keys
        every, limited = (
            {"x-api-key": keys.create("a", "user", "unlimited", None, seen)[1]} for seen in (None, ["team-a-*"])
        )
        for name in ("team-a-1", "team-b-1"):
            assert client.put(f"/v1/collections/{name}", headers=every).status_code == 201

        def put(alias, name):
            return client.put(f"/v1/aliases/{alias}", json={"collection": name}, headers=limited)

        problem(put("team-a-x", "team-b-1"), 404, "there is no collection 'team-b-1'")
        problem(put("team-b-x", "team-a-1"), 403, "limited to collections: team-a-*")
        assert put("team-a-x", "team-a-1").status_code == 200
        client.put("/v1/aliases/all", json={"collection": "team-a-1"}, headers=every)
        of_one = "/v1/collections/team-a-1"
        for described in (client.get(of_one, headers=limited), client.delete(f"{of_one}/encode", headers=limited)):
            assert described.json()["aliases"] == ["team-a-x"]
        assert [each["alias"] for each in client.get("/v1/aliases", headers=limited).json()["data"]] == ["team-a-x"]
        problem(client.delete("/v1/aliases/all", headers=limited), 404, "there is no alias 'all'")
        problem(client.get("/v1/collections/all", headers=limited), 404, "there is no collection 'all'")
        problem(client.get("/v1/jobs/team-b-1.0123", headers=limited), 404, "there is no collection")
