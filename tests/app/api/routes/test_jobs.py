"""Jobs over HTTP: the same from every worker, and after a restart."""

import json

import httpx
import pytest

from app.api.dialects.jobs import JobListResponse, JobResponse
from app.settings import Settings
from retrieval.store.collection import Collection
from retrieval.store.documents import Documents
from tests.app.live import live
from tests.app.problems import problem
from tests.conftest import serving
from tests.indexers import indexed_elsewhere
from tests.waiting import PATIENT_S, eventually

PATH = "/v1/collections/birds"


def put(client, count=3, **fields) -> str:
    """Put documents; the id of the job."""
    body = {"documents": [{"id": f"{i}", "text": f"owl {i}"} for i in range(count)]} | fields
    return client.post(f"{PATH}/documents", json=body).json()["job"]


@pytest.fixture
def birds(client):
    assert client.put(PATH).status_code == 201
    return client


def test_every_write_is_a_job_that_ends_when_a_search_finds_it(birds, hash_settings):
    with indexed_elsewhere(hash_settings.collections_dir / "birds"):
        job = put(birds)
        state = birds.get(f"/v1/jobs/{job}").json()
        JobResponse.model_validate(state)
        assert (state["id"], state["collection"], state["kind"]) == (job, "birds", "documents")
        assert (state["status"], state["total"], state["done"], state["stored"]) == ("running", 3, 0, 3)
    eventually(lambda: birds.get(f"/v1/jobs/{job}").json()["status"] == "done")
    state = birds.get(f"/v1/jobs/{job}").json()
    assert (state["done"], state["seconds_left"], state["error"]) == (3, None, None)
    listed = birds.get(f"{PATH}/jobs").json()
    JobListResponse.model_validate(listed)
    assert listed["data"] == [state]
    with serving(hash_settings) as another_worker:
        assert another_worker.get(f"/v1/jobs/{job}").json() == state


@pytest.mark.parametrize("job", ["birds.0123", "none.0123", "birds", ".", "..", "birds.", "a b.c"])
def test_a_job_that_there_is_not_is_not_found(birds, job):
    put(birds)
    for path in (f"/v1/jobs/{job}", f"/v1/jobs/{job}/events"):
        assert birds.get(path).status_code == 404


def test_the_events_of_a_job_end_with_it(birds):
    job = put(birds, wait="searchable")
    answer = birds.get(f"/v1/jobs/{job}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    kind, data = (line.partition(": ")[2] for line in answer.text.strip().split("\n"))
    assert kind == "done"
    assert json.loads(data) == birds.get(f"/v1/jobs/{job}").json()


def test_a_follower_has_a_place_until_its_job_ends_or_it_leaves(tmp_path, monkeypatch):
    monkeypatch.setattr("app.api.routes.jobs._BEAT_EVERY_S", 0)
    with live(Settings(data_dir=tmp_path, limits={"job_followers": 1}), monkeypatch) as server:
        client = httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=PATIENT_S)
        followers = server.app.state.dependencies.job_followers
        client.put(PATH)
        with indexed_elsewhere(tmp_path / "collections" / "birds"):
            job = put(client)
            with client.stream("GET", f"/v1/jobs/{job}/events") as events:
                lines = events.iter_lines()
                assert next(lines) == "event: running"
                problem(
                    httpx.get(f"{client.base_url}/v1/jobs/{job}/events", timeout=PATIENT_S),
                    503,
                    "too many clients follow jobs",
                )
                assert ": ping" in lines
            eventually(lambda: followers.total == 0)
            events = client.stream("GET", f"/v1/jobs/{job}/events")
            lines = events.__enter__().iter_lines()
            assert next(lines) == "event: running"
        kinds = [line.partition(": ")[2] for line in lines if line.startswith("event")]
        events.__exit__(None, None, None)
        assert kinds[-1] == "done"
        assert set(kinds[:-1]) <= {"running"}
        eventually(lambda: followers.total == 0)


def test_the_events_end_when_the_collection_is_deleted(birds, hash_settings, monkeypatch):
    monkeypatch.setattr(Documents, "waiting", lambda *_: [])
    job = put(birds)
    jobs = Collection.job

    def deleted(collection, key):
        found = jobs(collection, key)
        if collection.folder.exists():
            birds.delete(PATH)
        return found

    monkeypatch.setattr(Collection, "job", deleted)
    text = birds.get(f"/v1/jobs/{job}/events").text
    assert text.rstrip().split("\n\n")[-1].startswith("event: error\ndata: {")
    assert "unknown-collection" in text


def test_a_collection_is_compacted_by_a_job(birds, hash_settings):
    collection = Collection(hash_settings.collections_dir / "birds")
    for count in (1, 2, 3):
        put(birds, count, wait="searchable")
    assert len(collection.segments.all()) == 3
    with indexed_elsewhere(collection.folder):
        job = birds.post(f"{PATH}/compact").json()
        assert birds.post(f"{PATH}/compact").json()["id"] == job["id"]
        assert (job["kind"], job["status"], job["total"], job["done"]) == ("compact", "running", 1, 0)
    eventually(lambda: birds.get(f"/v1/jobs/{job['id']}").json()["status"] == "done")
    assert len(collection.segments.all()) == 1
    assert len(birds.post(f"{PATH}/search", json={"query": "owl"}).json()["results"]) == 3
