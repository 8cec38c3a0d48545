"""A service whose disk fails under it: it says what is wrong, loses nothing, and mends itself."""

import asyncio
import os
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.service.indexing import Indexing
from app.settings import Settings
from retrieval.encoder import hash_encoder
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.errors import EncodingError
from retrieval.store.collection import Collection
from retrieval.store.connection import Connection
from retrieval.store.indexer import build
from retrieval.text.passages import Passage
from tests.app.problems import problem
from tests.conftest import serving
from tests.waiting import PATIENT_S, eventually, try_to_remove

PATH = "/v1/collections/birds"
OWL = b'{"id": "owl", "text": "An owl hunts at night."}\n'
NO_SPACE = "collection birds cannot be written: No space left on device; make room on its disk"
NDJSON = {"accept": "application/x-ndjson", "content-type": "application/x-ndjson"}


def put(client, *texts: str, wait: str = "searchable") -> httpx.Response:
    documents = [{"id": text[:20].strip(), "text": text} for text in texts]
    return client.post(f"{PATH}/documents", json={"documents": documents, "wait": wait})


def search(client) -> httpx.Response:
    return client.post(f"{PATH}/search", json={"query": "owl", "top_n": 1000})


def ids(client) -> list[str]:
    return sorted(row["document"]["id"] for row in search(client).json()["results"])


@pytest.fixture
def birds(client):
    """A client, and a collection of two segments."""
    assert client.put(PATH).status_code == 201
    for text in ("an owl", "a lamp"):
        assert put(client, text).json()["searchable"]
    return client


@pytest.fixture
def segments(birds, hash_settings) -> list[Path]:
    return sorted((hash_settings.collections_dir / "birds" / "segments").iterdir())


@pytest.mark.parametrize(
    ("method", "sent"),
    [
        ("counts", {"method": "GET", "url": PATH}),
        ("page", {"method": "GET", "url": f"{PATH}/documents", "headers": NDJSON}),
        ("put", {"method": "POST", "url": f"{PATH}/documents", "headers": NDJSON, "content": OWL}),
    ],
)
def test_a_request_that_waits_for_a_collection_leaves_the_threads_of_others_free(birds, monkeypatch, method, sent):
    async def have_one_thread() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))

    waits, go_on, real = threading.Event(), threading.Event(), getattr(Collection, method)
    in_time = list[bool]()

    def slow(*arguments):
        waits.set()
        in_time.append(go_on.wait(PATIENT_S))
        return real(*arguments)

    birds.portal.call(have_one_thread)
    monkeypatch.setattr(Collection, method, slow)
    with ThreadPoolExecutor(1) as pool:
        try:
            slow_one = pool.submit(birds.request, **sent)
            assert waits.wait(PATIENT_S)
            assert birds.get("/metrics").status_code == 200
            assert not slow_one.done()
        finally:
            go_on.set()
        assert slow_one.result(PATIENT_S).status_code == 200
        assert all(in_time)


def test_a_document_that_the_model_cannot_encode_is_not_called_searchable_and_is_tried_again(birds, monkeypatch):
    real = hash_encoder._word_id

    def choosy(word):
        if word == "stone":
            raise EncodingError("no tokens for a text")
        return real(word)

    with monkeypatch.context() as patch:
        patch.setattr(hash_encoder, "_word_id", choosy)  # a turn that has begun holds the encoder's own methods
        answer = put(birds, "a stone", "an owl").json()
        assert (answer["changed"], answer["searchable"]) == (1, False)
        assert birds.get(f"/v1/jobs/{answer['job']}").json()["failed"] == birds.get(PATH).json()["failed"] == 1
        assert put(birds, "a river").json()["searchable"], "that of another request"
        upload = birds.post(
            f"{PATH}/documents?wait=searchable", headers=NDJSON, content=b'{"id": "x", "text": "stone"}'
        )
        assert not upload.json()["searchable"]
        birds.delete(f"{PATH}/documents/x")
    answer = put(birds, "a stone", "an owl").json()
    assert (answer["changed"], answer["searchable"]) == (1, True)
    assert ids(birds) == ["a lamp", "a river", "a stone", "an owl"]


def test_a_damaged_segment_is_indexed_again_while_the_rest_is_searched(birds, segments, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        patch.setattr(Indexing, "_repair", lambda *_: None)
        os.truncate(segments[0] / "passages.jsonl", 3)
        assert (ids(birds), search(birds).json()["meta"]["degraded"]) == (["a lamp"], ["damage"])
    eventually(lambda: not search(birds).json()["meta"]["degraded"])
    assert ids(birds) == ["a lamp", "an owl"]
    assert "the documents of segment 1 of the collection birds are indexed again" in caplog.text
    assert birds.get(PATH).json()["waiting"] == 0


def test_what_is_damaged_without_another_size_is_found_when_it_is_read(birds, segments):
    assert ids(birds) == ["a lamp", "an owl"]
    file = segments[0] / "passages.jsonl"
    file.write_bytes(b"\xff" * file.stat().st_size)
    problem(search(birds), 503, "passages.jsonl holds lines that cannot be read")
    eventually(lambda: search(birds).status_code == 200 and ids(birds) == ["a lamp", "an owl"])


def test_segments_that_are_all_lost_are_indexed_again(birds, segments):
    assert ids(birds) == ["a lamp", "an owl"]
    shutil.rmtree(segments[0].parent)
    assert ids(birds) == ["a lamp", "an owl"], "what is open stays readable"
    assert put(birds, "a stone").status_code == 200
    eventually(lambda: search(birds).status_code == 200 and len(ids(birds)) == 3)
    assert search(birds).json()["meta"]["degraded"] == []


def test_space_of_deleted_documents_is_given_back_by_itself(birds, hash_settings):
    database = hash_settings.collections_dir / "birds" / "documents.sqlite"
    documents = [{"id": str(at), "text": "an owl", "metadata": {"source": "x" * 10_000}} for at in range(80)]
    birds.post(f"{PATH}/documents", json={"documents": documents, "wait": "searchable"})
    Connection(database.parent).read("PRAGMA wal_checkpoint")
    assert database.stat().st_size > 600_000
    birds.post(f"{PATH}/documents/delete", json={"ids": [str(at) for at in range(80)]})
    eventually(lambda: database.stat().st_size < 200_000)
    assert ids(birds) == ["a lamp", "an owl"]


def test_a_collection_that_is_replaced_or_deleted_under_it_is_the_new_one_soon(birds, hash_settings):
    folder = hash_settings.collections_dir / "birds"
    build(folder, [Passage("new", "", "an owl")], HashEncoder(), lambda *_: None, replace=True)
    eventually(lambda: ids(birds) == ["new"])
    assert put(birds, "a stone").json()["searchable"]
    assert ids(birds) == ["a stone", "new"]
    eventually(lambda: try_to_remove(folder))
    problem(search(birds), 404, "there is no collection 'birds'")
    problem(put(birds, "a river"), 404, "there is no collection 'birds'")
    assert birds.put(PATH).status_code == 201
    assert put(birds, "a river").json()["searchable"]
    assert ids(birds) == ["a river"]


def test_a_deletion_that_was_killed_is_ended_when_a_service_starts(hash_settings):
    removed = hash_settings.collections_dir / ".removed-1-1"
    removed.mkdir(parents=True)
    with serving(hash_settings):
        eventually(lambda: not removed.exists())


@contextmanager
def mounted(folder: Path, options: str):
    """A small file system; skips where this process may not mount one."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)  # noqa: S603, S607
    if done.returncode:
        pytest.skip(f"only root may mount a file system: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # noqa: S603, S607


def filled(folder: Path) -> Path:
    """A file that takes all the space there is."""
    file = folder / "filling"
    with file.open("wb") as opened, pytest.raises(OSError, match="No space left"):
        while True:
            opened.write(bytes(2**16))
            opened.flush()
    return file


def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path):
    with mounted(tmp_path / "disk", "size=8m"), serving(Settings(model="hash", data_dir=tmp_path / "disk")) as client:
        client.put(PATH)
        put(client, "an owl")
        filling = filled(tmp_path / "disk")
        problem(put(client, *(f"lamp {at}" * 1000 for at in range(20))), 503, "cannot be written")
        problem(client.put("/v1/collections/bees"), 503, "cannot be made")
        assert ids(client) == ["an owl"], "searches go on"
        filling.unlink()
        assert put(client, "a lamp").json()["searchable"]
        assert ids(client) == ["a lamp", "an owl"]


def test_documents_for_which_there_is_no_space_to_index_them_wait_until_there_is(tmp_path, caplog):
    disk = tmp_path / "disk"
    with mounted(disk, "size=8m"), serving(Settings(model="hash", data_dir=disk)) as client:
        client.put(PATH)
        put(client, "an owl")
        filling = filled(disk)
        os.truncate(filling, filling.stat().st_size - 2**18)  # enough for the documents, and not for a segment
        texts = [f"lamp {at} " * 40 for at in range(100)]
        job = put(client, *texts, wait="stored").json()["job"]
        eventually(lambda: "cannot be indexed" in caplog.text)
        assert NO_SPACE in caplog.text
        told = client.get(f"/v1/jobs/{job}").json()
        assert (told["status"], told["error"]) == ("running", NO_SPACE)
        assert (client.get(PATH).json()["waiting"], ids(client)) == (100, ["an owl"])
        filling.unlink()
        eventually(lambda: client.get(PATH).json()["waiting"] == 0)
        assert client.get(PATH).json()["passages"] == 101
        told = client.get(f"/v1/jobs/{job}").json()
        assert (told["status"], told["error"]) == ("done", None)


def test_a_read_only_disk_is_searched_and_takes_no_writes(tmp_path):
    disk = tmp_path / "disk"
    with mounted(disk, "size=8m"):
        build(disk / "collections" / "birds", [Passage("an owl", "", "an owl")], HashEncoder(), lambda *_: None)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)  # noqa: S603, S607
        with serving(Settings(model="hash", data_dir=disk)) as client:
            assert ids(client) == ["an owl"]
            assert client.get(f"{PATH}/documents/an owl").json()["text"] == "an owl"
            problem(put(client, "a lamp"), 503, "takes no writes")
            problem(client.delete(f"{PATH}/documents/an owl"), 503, "takes no writes")
            problem(client.put("/v1/collections/bees"), 503, "Read-only file system")
            problem(client.delete(PATH), 503, "Read-only file system")
            assert ids(client) == ["an owl"]
