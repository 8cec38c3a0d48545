"""Uploads: NDJSON streams of documents, which are stored as they come."""

import json
import socket
import threading
from collections.abc import Iterable

import httpx
import pytest

from app.api.routes import documents
from app.service.ingestion import Ingestion
from app.settings import Settings
from retrieval.store.collection import Collection, remove
from retrieval.store.documents import Documents
from retrieval.store.rows import Document
from tests.app.live import live
from tests.app.problems import problem
from tests.conftest import serving
from tests.indexers import indexed_elsewhere
from tests.waiting import PATIENT_S, eventually

PATH = "/v1/collections/birds/documents"
NDJSON = {"content-type": "application/x-ndjson"}


def lines(numbers: Iterable[int], text: str = "an owl") -> bytes:
    return b"".join(json.dumps({"id": f"{i}", "text": f"{i} {text}"}).encode() + b"\n" for i in numbers)


def upload(client, content, **parameters):
    return client.post(PATH, content=content, headers=NDJSON, params=parameters)


def ids(client) -> set[str]:
    """The ids of an export."""
    exported = client.get(PATH, headers={"accept": "application/x-ndjson"})
    assert exported.headers["content-type"] == "application/x-ndjson"
    return {json.loads(line)["id"] for line in exported.text.splitlines()}


@pytest.fixture
def birds(tmp_path):
    """A client, and an empty collection. A line may have 2 kB, a stream 300 kB."""
    settings = Settings(model="hash", data_dir=tmp_path, limits={"body_bytes": 2000, "upload_bytes": 300_000})
    with serving(settings) as client:
        client.put("/v1/collections/birds")
        yield client


def test_a_stream_is_larger_than_a_body_and_its_bad_lines_are_named(birds):
    sent = lines(range(1300)).splitlines(keepends=True)
    sent[7], sent[1200] = b"{\n", json.dumps({"id": "long", "text": "x" * 2000}).encode() + b"\n"
    sent[2] = b" \r\n"
    answer = upload(birds, b"".join(sent), wait="searchable").json()
    assert (answer["stored"], answer["changed"], answer["rejected"], answer["searchable"]) == (1297, 1297, 2, True)
    assert [(each["line"], each["index"], each["id"]) for each in answer["failed"]] == [
        (8, 6, None),
        (1201, 1199, None),
    ]
    assert "longer than a body" in answer["failed"][1]["error"]
    assert ids(birds) == {str(i) for i in range(1300)} - {"2", "7", "1200"}


def test_an_export_is_an_upload(birds):
    assert upload(birds, lines(range(1200))).json()["stored"] == 1200
    exported = birds.get(PATH, headers={"accept": "application/x-ndjson"}).content
    again = upload(birds, exported).json()
    assert (again["stored"], again["changed"], again["rejected"]) == (1200, 0, 0)


def test_of_many_failures_the_first_hundred_are_named_and_all_are_counted(birds):
    answer = upload(birds, b"{\n" * 1101 + lines([1])).json()
    assert (answer["stored"], answer["rejected"], len(answer["failed"])) == (1, 1101, 100)
    assert answer["failed"][-1]["line"] == 100


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"", 422, "there are no documents"),
        (b"\n \n", 422, "there are no documents"),
        (b"{\n" * 1001, 422, "no document is valid; the first one: the body is not JSON"),
    ],
)
def test_a_stream_without_documents_is_refused(birds, content, status, message):
    problem(upload(birds, content), status, message)


def test_the_stream_has_a_limit(birds):
    text = "x" * 1000
    size = len(lines(range(100, 101), text))
    content = lines(range(100, 100 + 300_000 // size), text)
    content += b" " * (300_000 - len(content))
    assert upload(birds, content).json()["stored"] == 300_000 // size
    problem(upload(birds, content + b" "), 413, "larger than the 300000 bytes")


def test_a_stream_to_no_collection_or_compressed_is_refused_before_it_is_read(birds):
    missing = birds.post("/v1/collections/none/documents", content=b"x", headers=NDJSON)
    problem(missing, 404, "there is no collection 'none'")
    problem(birds.post(PATH, content=b"x", headers=NDJSON | {"content-encoding": "gzip"}), 400, "compressed")
    problem(upload(birds, b"x", wait="soon"), 422, "wait: must be")


def test_a_quota_that_ends_within_a_stream_says_what_was_kept(tmp_path):
    quotas = {"standard": {"similarities_per_hour": 1500, "requests_per_minute": 5, "documents": 10}}
    with serving(Settings(model="hash", data_dir=tmp_path, auth={"enabled": True}, quotas=quotas)) as client:
        key = client.app.state.dependencies.auth.keys.create("a", "user", "standard", None)[1]
        client.headers["x-api-key"] = key
        client.put("/v1/collections/birds")
        answer = upload(client, lines(range(2600)))
        problem(answer, 429, "the first 1000 lines are done, and 1000 documents of them are kept")
        assert "retry-after" in answer.headers
        assert answer.headers["x-ratelimit-resource"] == "similarities"
        assert (answer.json()["stored"], answer.json()["lines"]) == (1000, 1000)
        assert client.get("/v1/collections/birds").json()["documents"] == 1000
        left = client.put("/v1/collections/birds").headers["x-ratelimit-remaining"]
        assert left == "2", "the stream was one request"


def test_a_stream_of_invalid_documents_is_paid_for(tmp_path):
    quotas = {"standard": {"similarities_per_hour": 100, "requests_per_minute": 4, "documents": 10}}
    with serving(Settings(model="hash", data_dir=tmp_path, auth={"enabled": True}, quotas=quotas)) as client:
        client.headers["x-api-key"] = client.app.state.dependencies.auth.keys.create("a", "user", "standard", None)[1]
        client.put("/v1/collections/birds")
        assert [upload(client, b"{}\n").status_code for _ in range(4)] == [422, 422, 422, 429]


@pytest.fixture
def revoked_meanwhile(tmp_path, monkeypatch):
    """A client with a collection of 2500 documents, and what revokes its key as soon as a function was called."""
    with serving(Settings(model="hash", data_dir=tmp_path, auth={"enabled": True})) as client:
        auth = client.app.state.dependencies.auth
        key, plain = auth.keys.create("a", "user", "unlimited", None)
        client.headers["x-api-key"] = plain
        client.put("/v1/collections/birds")
        upload(client, lines(range(2500)))

        def after(of, name):
            work = getattr(of, name)

            def revoked(*of_it, **options):
                found = work(*of_it, **options)
                auth.keys.revoke(key.id)
                auth.authenticator.forget()
                return found

            monkeypatch.setattr(of, name, revoked)

        yield client, after


def test_a_revoked_key_ends_an_upload(revoked_meanwhile):
    client, after = revoked_meanwhile
    after(Ingestion, "put")
    problem(upload(client, lines(range(3000))), 401, "1000 documents of them are kept")


def test_a_revoked_key_ends_an_export(revoked_meanwhile):
    client, after = revoked_meanwhile
    after(Collection, "page")
    assert ids(client) == {str(i) for i in range(1000)}


def test_a_revoked_key_ends_the_events_of_a_job(revoked_meanwhile, monkeypatch):
    client, after = revoked_meanwhile
    monkeypatch.setattr(Documents, "waiting", lambda *_: [])
    job = upload(client, lines(range(2500, 2600))).json()["job"]
    after(Collection, "job")
    text = client.get(f"/v1/jobs/{job}/events").text
    assert [line for line in text.splitlines() if line.startswith("event")] == ["event: running", "event: error"]
    assert "revoked" in text


def test_two_streams_at_once_are_both_stored(birds):
    answers = {}

    def send(first: int) -> None:
        numbers = range(first, first + 1100)
        parts = (lines(numbers[at : at + 100]) for at in range(0, 1100, 100))
        answers[first] = upload(birds, parts, wait="searchable").json()

    threads = [threading.Thread(target=send, args=(first,)) for first in (0, 700)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(answer["stored"], answer["searchable"]) for answer in answers.values()] == [(1100, True)] * 2
    assert ids(birds) == {str(i) for i in range(1800)}
    assert birds.get("/v1/collections/birds").json()["passages"] == 1800
    for answer in answers.values():
        job = birds.get(f"/v1/jobs/{answer['job']}").json()
        assert (job["status"], job["done"], job["total"]) == ("done", 1100, 1100)


def begun(port: int, content: bytes) -> socket.socket:
    """A stream that has not ended."""
    connection = socket.create_connection(("127.0.0.1", port))
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    connection.sendall(head.encode() + b"%x\r\n%b\r\n" % (len(content), content))
    return connection


def test_a_stream_goes_where_it_began_to_though_its_alias_leads_elsewhere_meanwhile(tmp_path, monkeypatch):
    with live(Settings(data_dir=tmp_path), monkeypatch) as server:
        client = httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=PATIENT_S)
        for name in ("old", "new"):
            client.put(f"/v1/collections/{name}")
        client.put("/v1/aliases/birds", json={"collection": "old"})

        def parts():
            yield lines(range(1000))
            eventually(lambda: client.get("/v1/collections/old").json()["documents"] == 1000)
            client.put("/v1/aliases/birds", json={"collection": "new"})
            yield lines(range(1000, 1100))

        assert (
            httpx.post(str(client.base_url) + PATH, content=parts(), headers=NDJSON, timeout=PATIENT_S).json()["stored"]
            == 1100
        )
        assert client.get("/v1/collections/old").json()["documents"] == 1100
        assert client.get("/v1/collections/birds").json()["documents"] == 0


def replacing(monkeypatch, method: str) -> None:
    """Have another collection take the place of the one that is used, after the first call of its method."""
    original = getattr(Collection, method)

    def replaced(self, *arguments):
        answer = original(self, *arguments)
        monkeypatch.setattr(Collection, method, original)
        remove(self.folder)
        Collection.create(self.folder, self.settings)
        Collection(self.folder).put([Document("new", "a lamp")])
        return answer

    monkeypatch.setattr(Collection, method, replaced)


def test_a_stream_ends_when_another_collection_takes_the_place_of_its_own(birds, monkeypatch):
    replacing(monkeypatch, "put")
    problem(upload(birds, lines(range(1100))), 404, "there is no collection 'birds' any more")
    assert ids(birds) == {"new"}


def test_an_export_ends_as_it_began_though_another_collection_takes_its_place(birds, monkeypatch):
    upload(birds, lines(range(3)))
    monkeypatch.setattr(documents, "_LARGEST_PAGE", 1)
    replacing(monkeypatch, "page")
    assert ids(birds) == {"0", "1", "2"}
    assert ids(birds) == {"new"}


def test_what_was_stored_before_the_client_left_stays_and_may_be_sent_again(tmp_path, monkeypatch):
    with live(Settings(data_dir=tmp_path, limits={"body_seconds": 1, "upload_bytes": 10**6}), monkeypatch) as server:
        client = httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=PATIENT_S)
        client.put("/v1/collections/birds")
        connection = begun(server.port, lines(range(1500)))
        eventually(lambda: client.get("/v1/collections/birds").json()["documents"] == 1000)
        (job,) = client.get("/v1/collections/birds/jobs").json()["data"]
        assert job["status"] == "running"
        connection.close()
        job = eventually(lambda: (found := client.get(f"/v1/jobs/{job['id']}").json())["status"] == "failed" and found)
        assert job["error"] == "the client left; the first 1000 lines are done, and 1000 documents of them are kept"
        eventually(lambda: server.app.state.dependencies.bodies.total == 0)
        again = upload(client, lines(range(1500)), wait="searchable").json()
        assert (again["stored"], again["changed"], again["searchable"]) == (1500, 500, True)
        beyond = upload(client, iter([lines(range(2000)), b" " * 10**6]))
        problem(beyond, 413, "the first 2000 lines are done, and 2000 documents of them are kept")
        assert (beyond.json()["stored"], beyond.json()["lines"]) == (2000, 2000)
        job = client.get(f"/v1/jobs/{beyond.json()['job']}").json()
        assert (job["status"], job["stored"], job["changed"]) == ("failed", 2000, 500)
        with begun(server.port, lines(range(900))) as silent:
            assert b"408" in silent.recv(2**16).split(b"\r\n")[0]
        assert client.get("/v1/collections/birds").json()["documents"] == 2000


def test_a_stream_that_is_sent_again_is_searchable_only_when_all_of_it_is(birds, tmp_path):
    with indexed_elsewhere(tmp_path / "collections" / "birds"):
        for changed in (1500, 0):
            answer = upload(birds, lines(range(1500))).json()
            assert (answer["stored"], answer["changed"], answer["searchable"]) == (1500, changed, False)
            job = birds.get(f"/v1/jobs/{answer['job']}").json()
            assert (job["status"], job["total"], job["done"]) == ("running", 1500, 0)
    assert upload(birds, lines(range(1500)), wait="searchable").json()["searchable"]
    assert birds.get(f"/v1/jobs/{answer['job']}").json()["status"] == "done"


def test_a_stream_may_be_larger_than_the_memory_for_all_bodies(tmp_path, monkeypatch):
    limits = {"all_bodies_bytes": 2**21, "body_bytes": 2**18}
    with live(Settings(data_dir=tmp_path, limits=limits), monkeypatch) as server:
        client = httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=PATIENT_S)
        client.put("/v1/collections/birds")
        with indexed_elsewhere(tmp_path / "collections" / "birds"):
            parts = [lines(range(at, at + 100), "x" * 200) for at in range(0, 12_000, 100)]
            assert sum(map(len, parts)) > 2**21
            assert upload(client, iter(parts)).json()["stored"] == 12_000
        eventually(lambda: server.app.state.dependencies.bodies.total == 0)
