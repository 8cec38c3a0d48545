"""Readiness and the report, with each component failing and recovering in turn."""

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


def test_a_healthy_service(client):
    assert client.get("/health").json() == {"status": "alive"}
    assert client.get("/health/ready").json()["status"] == "ready"
    body = report(client)
    assert (body["status"], body["reason"]) == ("ok", None)
    assert set(body["components"]) == {"engine", "models", "cache", "event_loop", "memory"}, (
        "what there is, and no more"
    )
    assert {component["last_error"] for component in body["components"].values()} == {None}
    (model,) = body["components"]["models"]["facts"]["models"]
    assert model["name"] == "hash"
    assert model["probe_ms"] > 0


def test_a_model_that_cannot_be_loaded_is_reported_with_its_error(tmp_path):
    with serving(settings_of(tmp_path, model=str(tmp_path / "none"), model_dir=tmp_path)) as client:
        assert client.get("/health").status_code == 200
        refused = client.get("/health/ready")
        problem(refused, 503, "ModelError")
        assert refused.headers["retry-after"] == "5"
        body = report(client, 503)
        assert body["status"] == "unavailable"
        engine = body["components"]["engine"]
        assert engine["facts"]["phase"] == "failed"
        assert "ModelError" in engine["last_error"]
        age = datetime.now(UTC) - datetime.fromisoformat(engine["last_error_at"])
        assert 0 <= age.total_seconds() < 3600
        assert body["components"]["models"]["status"] == "unavailable"


def test_a_draining_service_is_alive_and_not_ready(client):
    client.app.state.dependencies.engine.drain()
    assert client.get("/health").status_code == 200
    problem(client.get("/health/ready"), 503, "about to stop")
    body = report(client, 503)
    assert (body["status"], body["reason"]) == ("unavailable", "the service is about to stop")
    assert body["components"]["engine"]["status"] == "unavailable"
    assert client.post("/rerank", json=BODY).status_code == 200, "it goes on meanwhile"


class Encoder:
    """Makes the forward passes of the live server's encoder fail or wait."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.free = threading.Event()
        self.free.set()
        self.passes = 0
        self.seconds = 0.0  # duration of each pass

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
def test_a_failing_encoder_makes_it_unready_until_it_recovers(tmp_path, monkeypatch, encoder, error):
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


def test_a_slow_encoder_makes_it_unready_until_it_is_fast_enough(tmp_path, monkeypatch, encoder, fast_forward):
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


def test_an_overload_does_not_make_it_unready(tmp_path, monkeypatch, encoder):
    encoder.seconds = 0.02
    engine = {"requests": 4, "queue_requests": 4, "deadline_ms": 0, "least_part": 0}
    with served(settings_of(tmp_path, engine=engine), monkeypatch, encoder) as client:
        over = threading.Event()
        statuses: list[int] = []

        def ask(number: int) -> None:
            with httpx.Client(base_url=client.base_url, timeout=PATIENT_S) as own:
                while not over.is_set():
                    texts = [f"{number} {len(statuses)} {index} {'owl ' * index}" for index in range(20)]
                    statuses.append(own.post("/rerank", json={"query": "owl", "documents": texts}).status_code)

        threads = [threading.Thread(target=ask, args=[number]) for number in range(16)]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: 503 in statuses)
            refused = statuses.count(503)
            for _ in range(3):
                answer = client.get("/health/ready")
                assert answer.status_code == 200, answer.text
            eventually(lambda: statuses.count(503) > refused)
        finally:
            over.set()
            for thread in threads:
                thread.join()


def test_a_probe_encodes_each_time_and_is_not_cached(tmp_path, monkeypatch, encoder):
    with served(settings_of(tmp_path), monkeypatch, encoder) as client:
        traces = [line for line in client.get("/metrics").text.splitlines() if "encode" in line or "cache" in line]
        assert any("encoded_texts_total" in line for line in traces)
        for _ in range(3):
            passes = encoder.passes
            assert client.get("/health/ready").status_code == 200
            assert encoder.passes >= passes + 2, "the query and the documents"
        after = client.get("/metrics").text.splitlines()
        assert [line for line in after if "encode" in line or "cache" in line] == traces


def test_the_result_of_a_probe_is_cached(tmp_path, monkeypatch, encoder):
    with served(settings_of(tmp_path, health={"probe_every_s": 3600}), monkeypatch, encoder) as client:
        assert client.get("/health/ready").status_code == 200
        passes = encoder.passes
        encoder.error = RuntimeError("later")
        for _ in range(10):
            assert client.get("/health/ready").status_code == 200
        assert encoder.passes == passes


def test_targets_are_measured_on_real_requests(client):
    body = report(client)
    assert body["targets"]["rerank_p95_ms"] == {"target": 500, "measured": None, "requests": 0, "meets": None}
    for _ in range(7):
        assert client.post("/rerank", json=BODY).status_code == 200
    pair = {"text1": "owl", "text2": "an owl"}
    assert client.post("/v1/similarity", json=pair).status_code == 200
    assert client.post("/rerank", json={}).status_code == 422
    body = report(client)
    targets = body["targets"]
    assert (targets["rerank_p95_ms"]["requests"], targets["similarity_p95_ms"]["requests"]) == (7, 1)
    for target in targets.values():
        assert target["meets"] == (target["measured"] <= target["target"])
    assert body["meets_targets"] == all(target["meets"] for target in targets.values())
    assert 0 < body["window_s"] < 300
    memory = body["components"]["memory"]["facts"]
    assert targets["memory_bytes"]["measured"] == memory["most_bytes"] >= memory["resident_bytes"] > 10**7


def test_the_report_may_be_for_administrators_only(tmp_path):
    settings = settings_of(tmp_path, auth={"enabled": True}, operations={"access": "admin"})
    with serving(settings) as client:
        keys = client.app.state.dependencies.auth.keys
        made = {role: {"X-API-Key": keys.create("", role, "unlimited", None)[1]} for role in ("user", "admin")}
        answers = [client.get("/health/detailed", headers=headers) for headers in ({}, made["user"], made["admin"])]
        assert [answer.status_code for answer in answers] == [401, 403, 200]
        assert client.get("/health/ready").status_code == client.get("/health").status_code == 200
