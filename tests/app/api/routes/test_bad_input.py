"""Bad input and bad luck of collections over HTTP: a clear error or the whole answer, never a wrong one."""

import os
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest

from app.settings import Settings
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.store.collection import Collection
from retrieval.store.indexer import build
from retrieval.store.snapshot import Snapshot
from retrieval.text.passages import Passage
from tests.app.problems import problem
from tests.conftest import serving
from tests.waiting import eventually


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def client(data):
    with pytest.MonkeyPatch.context() as patch, serving(Settings(model="hash", data_dir=data)) as client:
        patch.setattr("app.service.indexing._EVERY_S", 0.05)
        yield client


def put(client, name, texts):
    documents = [{"id": i, "text": text} for i, text in texts.items()]
    body = {"documents": documents, "wait": "searchable"}
    assert client.put(f"/v1/collections/{name}").is_success
    answer = client.post(f"/v1/collections/{name}/documents", json=body)
    assert answer.json()["searchable"]


def search(client, name, query="owl", **fields):
    return client.post(f"/v1/collections/{name}/search", json={"query": query, "top_n": 100, **fields})


def found(client, name, query="owl", **fields):
    return [row["document"]["id"] for row in search(client, name, query, **fields).json()["results"]]


@pytest.mark.parametrize("size", [500_000, pytest.param(10_000_000, marks=pytest.mark.soak)])
def test_a_document_of_any_size_is_found_by_its_end(client, size):
    end = "At last a kingfisher dives."
    line = "Rain fell on the grey hills for another day. "
    text = (line * (size // len(line) + 1))[: size - len(end)] + end
    put(client, "long", {"whole": text, "other": "An owl hunts at night."})
    for method in ("hybrid", "classical"):
        best = search(client, "long", "kingfisher dives", method=method).json()["results"][0]["document"]
        assert best["id"] == "whole"
        assert best["text"].endswith(end)
        assert best["chunk"]["end"] == size
    assert client.get("/v1/collections/long/documents/whole").json()["text"] == text
    assert client.delete("/v1/collections/long").status_code == 204


LONG = "x" * 50_000


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/v1/collections/echo", {LONG: 1}),
        ("PUT", "/v1/collections/echo", {"chunking": {LONG: 1}}),
        ("POST", "/v1/collections/echo/documents", {"documents": [{"id": "a", "text": "b", LONG: 1}]}),
        ("POST", "/v1/collections/echo/documents", {"documents": [{"text": "b", "metadata": {LONG: {LONG: {}}}}]}),
        ("POST", "/rerank", {"query": "a", "documents": ["b"], "method": LONG}),
        ("GET", "/v1/" + LONG, None),
        ("GET", "/v1/collections/" + LONG, None),
        ("GET", "/v1/jobs/" + LONG, None),
    ],
)
def test_an_error_does_not_repeat_a_long_input(client, method, path, body):
    client.put("/v1/collections/echo")
    answer = client.request(method, path, json=body)
    assert 400 <= answer.status_code < 500
    assert len(answer.content) < 2000


class Wide(HashEncoder):
    """Another model, whose vectors are twice as long."""

    name, digest = "wide", "wide"

    def forward(self, batch):
        states = super().forward(batch)
        pooled = np.tile(states.pooled, (1, 2)) / np.float32(np.sqrt(2))
        return type(states)(pooled, states.tokens, states.offsets, states.lengths, states.unknown)


def test_vectors_of_another_dimension_are_never_compared(client, data):
    build(data / "collections" / "wide", [Passage("owl", "", "An owl hunts.")], Wide(), lambda *_: None)
    for model in (None, "hash"):
        problem(search(client, "wide", model=model), 409, "'wide', which is not served")
    put_more = client.post("/v1/collections/wide/documents", json={"documents": [{"id": "a", "text": "b"}]})
    problem(put_more, 409, "'wide', which is not served")
    problem(client.put("/v1/collections/wide"), 409, "delete it first")
    assert client.delete("/v1/collections/wide").status_code == 204


def garbage(file):
    file.write_bytes(os.urandom(file.stat().st_size))


def wider(file):
    rows = np.load(file)
    written = BytesIO()
    np.save(written, np.hstack([rows, rows]))
    file.write_bytes(written.getvalue())


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("pooled.npy", garbage),  # what FAISS searches
        ("pooled.npy", wider),
        ("tokens.bin", lambda file: os.truncate(file, file.stat().st_size // 2)),
    ],
    ids=["garbage", "wider", "cut"],
)
def test_a_damaged_index_gives_an_error_or_fewer_results_and_mends_itself(client, data, request, file, damage):
    name, texts = request.node.callspec.id, {f"{i}": f"owl {i}" for i in range(5)}
    put(client, name, texts)
    put(client, name, {"new": "a lamp"})
    damage(min((data / "collections" / name / "segments").iterdir()) / file)

    def mended():
        answer = search(client, name)
        if answer.status_code != 200:
            problem(answer, 503, name)
            return False
        shown = {row["document"]["id"] for row in answer.json()["results"]}
        is_all = shown == {*texts, "new"}
        assert is_all or "damage" in answer.json()["meta"]["degraded"]
        return is_all

    eventually(mended)
    assert found(client, name, "owl 3")[0] == "3"
    assert client.delete(f"/v1/collections/{name}").status_code == 204


def test_what_two_write_at_once_is_there_once_and_whole(client):
    client.put("/v1/collections/shared")

    def write(writer):
        for at in range(8):
            put(client, "shared", {"both": f"owl of {writer}", f"{writer}.{at}": f"owl {at} of {writer}"})

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, "ab"))
    counts = client.get("/v1/collections/shared").json()
    assert (counts["documents"], counts["passages"], counts["waiting"]) == (17, 17, 0)
    assert sorted(found(client, "shared")) == sorted({"both"} | {f"{who}.{at}" for who in "ab" for at in range(8)})
    kept = client.get("/v1/collections/shared/documents/both").json()
    rows = [row["document"] for row in search(client, "shared").json()["results"]]
    assert [row["text"] for row in rows if row["id"] == "both"] == [kept["text"]]


def test_a_search_goes_on_when_its_collection_is_deleted(client, monkeypatch):
    put(client, "gone", {"1": "an owl", "2": "a lamp"})
    states = Snapshot.states

    def deleted(self, *arguments):
        assert client.delete("/v1/collections/gone").status_code == 204
        return states(self, *arguments)

    monkeypatch.setattr(Snapshot, "states", deleted)
    answer = search(client, "gone")
    assert answer.status_code == 200
    assert [row["document"]["text"] for row in answer.json()["results"]] == ["an owl", "a lamp"]
    monkeypatch.undo()
    problem(search(client, "gone"), 404, "there is no collection 'gone'")


@pytest.mark.parametrize("name", ["..", "%2e%2e", "..%2fdata", "a%2fb", "a/b", "%2e", ".old", "%2fetc", "a%5cb"])
def test_a_name_that_leads_elsewhere_makes_nothing(client, data, name):
    before = sorted(data.rglob("*.sqlite"))
    for answer in (client.put(f"/v1/collections/{name}"), client.delete(f"/v1/collections/{name}")):
        assert answer.status_code in {400, 404, 405, 422}
    assert sorted(data.rglob("*.sqlite")) == before


def test_a_name_of_64_letters_of_four_bytes_is_told_or_taken(client, data):
    name = "𐤀" * 64
    problem(client.put(f"/v1/collections/{name}"), 422, "at most 255 bytes")
    put(client, name[:63], {"1": "an owl"})
    assert found(client, name[:63]) == ["1"]
    assert Collection(data / "collections" / name[:63]).counts().documents == 1
    assert client.delete(f"/v1/collections/{name[:63]}").status_code == 204
