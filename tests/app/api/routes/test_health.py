"""Each part is broken in its turn: readiness and the report see it, and see it mend."""

import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
import pytest

from tests.app.live import live
from tests.app.problems import problem
from tests.app.reports import component, report, settings_of, statuses
from tests.conftest import serving
from tests.waiting import PATIENT_S, eventually

pytestmark = pytest.mark.usefixtures("quiet_machine")
BODY = {"query": "owl song", "documents": ["market prices", "an owl song"]}


def test_a_service_that_is_well_says_so(client):
    assert client.get("/health").json() == {"status": "alive"}
    assert client.get("/health/ready").json()["status"] == "ready"
    told = report(client)
    assert (told["status"], told["reason"]) == ("ok", None)
    assert set(told["components"]) == {"engine", "models", "cache", "event_loop", "memory"}, (
        "what there is, and no more"
    )
    assert {of["last_error"] for of in told["components"].values()} == {None}
    (model,) = told["components"]["models"]["facts"]["models"]
    assert model["name"] == "hash"
    assert model["probe_ms"] > 0


def test_a_model_that_cannot_be_loaded_is_told_with_its_error(tmp_path):
    with serving(settings_of(tmp_path, model=str(tmp_path / "none"), model_dir=tmp_path)) as client:
        assert client.get("/health").status_code == 200
        refused = client.get("/health/ready")
        problem(refused, 503, "ModelError")
        assert refused.headers["retry-after"] == "5"
        told = report(client, 503)
        assert told["status"] == "unavailable"
        engine = told["components"]["engine"]
        assert engine["facts"]["phase"] == "failed"
        assert "ModelError" in engine["last_error"]
        age = datetime.now(UTC) - datetime.fromisoformat(engine["last_error_at"])
        assert 0 <= age.total_seconds() < 3600
        assert told["components"]["models"]["status"] == "unavailable"


def test_a_service_that_drains_is_alive_and_not_ready(client):
    client.app.state.dependencies.engine.drain()
    assert client.get("/health").status_code == 200
    problem(client.get("/health/ready"), 503, "about to stop")
    told = report(client, 503)
    assert (told["status"], told["reason"]) == ("unavailable", "the service is about to stop")
    assert told["components"]["engine"]["status"] == "unavailable"
    assert client.post("/rerank", json=BODY).status_code == 200, "it goes on meanwhile"


class Encoder:
    """Breaks the passes of the live server's encoder, or holds them up."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.free = threading.Event()
        self.free.set()
        self.passes = 0
        self.seconds = 0.0  # that each pass takes

    def __call__(self, _: object) -> None:
        self.passes += 1
        time.sleep(self.seconds)
        assert self.free.wait(PATIENT_S)
        if self.error:
            raise self.error


@pytest.fixture
def encoder():
    made = Encoder()
    yield made
    made.free.set()


@contextmanager
def served(settings, monkeypatch, encoder):
    with (
        live(settings, monkeypatch, encoder, log_level="critical") as server,
        httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=PATIENT_S) as client,
    ):
        yield client
        encoder.free.set()


@pytest.mark.parametrize("error", [RuntimeError("the file is gone"), SystemExit()])
def test_an_encoder_that_breaks_makes_it_unready_until_it_mends(tmp_path, monkeypatch, encoder, error):
    with served(settings_of(tmp_path), monkeypatch, encoder) as client:
        assert client.get("/health/ready").status_code == 200
        encoder.error = error
        problem(client.get("/health/ready"), 503, "a probe failed: RuntimeError")
        broken = component(client, "models", 503)
        assert broken["status"] == "unavailable"
        assert "a probe failed" in broken["last_error"]
        assert client.get("/health").status_code == 200
        assert "qrerank_ready 0.0" in client.get("/metrics").text
        encoder.error = None
        assert client.get("/health/ready").status_code == 200
        assert "qrerank_ready 1.0" in client.get("/metrics").text
        mended = component(client, "models")
        assert (mended["status"], mended["last_error"]) == ("ok", broken["last_error"])


def test_an_encoder_that_takes_too_long_makes_it_unready_until_it_is_in_time(
    tmp_path, monkeypatch, encoder, fast_forward
):
    with served(settings_of(tmp_path), monkeypatch, encoder) as client:
        assert client.get("/health/ready").status_code == 200
        encoder.free.clear()
        monkeypatch.setattr("app.health.probe._PATIENCE_S", 0.01)
        passes = encoder.passes
        assert client.get("/health/ready").status_code == 200, "the probe has still time, and the last one was well"
        fast_forward(601)
        problem(client.get("/health/ready"), 503, "and 600000 ms are allowed")
        assert statuses(client) == ("unavailable", {"models"})
        assert encoder.passes <= passes + 1, "probes do not pile up"
        encoder.free.set()
        eventually(lambda: client.get("/health/ready").status_code == 200)
        assert "and 600000 ms are allowed" in component(client, "models")["last_error"]


def test_an_overload_leaves_it_ready(tmp_path, monkeypatch, encoder):
    encoder.seconds = 0.02
    engine = {"requests": 4, "queue_requests": 4, "deadline_ms": 0, "least_part": 0}
    with served(settings_of(tmp_path, engine=engine), monkeypatch, encoder) as client:
        over = threading.Event()
        told: list[int] = []

        def ask(number: int) -> None:
            with httpx.Client(base_url=client.base_url, timeout=PATIENT_S) as own:
                while not over.is_set():
                    texts = [f"{number} {len(told)} {at} {'owl ' * at}" for at in range(20)]
                    told.append(own.post("/rerank", json={"query": "owl", "documents": texts}).status_code)

        threads = [threading.Thread(target=ask, args=[number]) for number in range(16)]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: 503 in told)
            refused = told.count(503)
            for _ in range(3):
                answer = client.get("/health/ready")
                assert answer.status_code == 200, answer.text
            eventually(lambda: told.count(503) > refused)
        finally:
            over.set()
            for thread in threads:
                thread.join()


def test_a_probe_reads_anew_each_time_and_leaves_no_trace(tmp_path, monkeypatch, encoder):
    with served(settings_of(tmp_path), monkeypatch, encoder) as client:
        traces = [line for line in client.get("/metrics").text.splitlines() if "encode" in line or "cache" in line]
        assert any("encoded_texts_total" in line for line in traces)
        for _ in range(3):
            passes = encoder.passes
            assert client.get("/health/ready").status_code == 200
            assert encoder.passes >= passes + 2, "the query and the documents"
        after = client.get("/metrics").text.splitlines()
        assert [line for line in after if "encode" in line or "cache" in line] == traces


def test_what_a_probe_found_is_remembered(tmp_path, monkeypatch, encoder):
    with served(settings_of(tmp_path, health={"probe_every_s": 3600}), monkeypatch, encoder) as client:
        assert client.get("/health/ready").status_code == 200
        passes = encoder.passes
        encoder.error = RuntimeError("later")
        for _ in range(10):
            assert client.get("/health/ready").status_code == 200
        assert encoder.passes == passes


def test_targets_are_measured_on_the_requests_that_were_made(client):
    told = report(client)
    assert told["targets"]["rerank_p95_ms"] == {"target": 500, "measured": None, "requests": 0, "meets": None}
    for _ in range(7):
        assert client.post("/rerank", json=BODY).status_code == 200
    pair = {"text1": "owl", "text2": "an owl"}
    assert client.post("/v1/similarity", json=pair).status_code == 200
    assert client.post("/rerank", json={}).status_code == 422
    told = report(client)
    targets = told["targets"]
    assert (targets["rerank_p95_ms"]["requests"], targets["similarity_p95_ms"]["requests"]) == (7, 1)
    for target in targets.values():
        assert target["meets"] == (target["measured"] <= target["target"])
    assert told["meets_targets"] == all(target["meets"] for target in targets.values())
    assert 0 < told["window_s"] < 300
    memory = told["components"]["memory"]["facts"]
    assert targets["memory_bytes"]["measured"] == memory["most_bytes"] >= memory["resident_bytes"] > 10**7


def test_how_each_part_is_may_be_for_administrators_alone(tmp_path):
    settings = settings_of(tmp_path, auth={"enabled": True}, operations={"access": "admin"})
    with serving(settings) as client:
        keys = client.app.state.dependencies.auth.keys
        made = {role: {"X-API-Key": keys.create("", role, "unlimited", None)[1]} for role in ("user", "admin")}
        answers = [client.get("/health/detailed", headers=headers) for headers in ({}, made["user"], made["admin"])]
        assert [answer.status_code for answer in answers] == [401, 403, 200]
        assert client.get("/health/ready").status_code == client.get("/health").status_code == 200
