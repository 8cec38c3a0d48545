"""Faults while the service runs: the affected request gets a response, and the next one succeeds."""

import http.client
import json
import random
import shutil
import threading
import time
from collections import Counter

import pytest

from app.settings import Settings
from tests.app.live import Live, live
from tests.conftest import serving
from tests.waiting import PATIENT_S

PER_CLIENT, CLIENTS, SOAK = 25, 8, 500


class Died(BaseException):
    """An exception that no handler expects."""


FAULTS = (RuntimeError, MemoryError, OSError, SystemExit, KeyboardInterrupt, Died)


class Breaker:
    """Raises `fault` in every pass of the encoder, or random faults in a share of the passes."""

    def __init__(self) -> None:
        self.fault: type[BaseException] | None = None
        self.share = 0.0
        self._chance = random.Random(1)  # noqa: S311 - deterministic

    def __call__(self, _: object) -> None:
        if self.fault:
            raise self.fault
        if self._chance.random() < self.share:
            raise self._chance.choice(FAULTS)


@pytest.fixture
def broken(tmp_path, monkeypatch):
    breaker = Breaker()
    with live(Settings(data_dir=tmp_path), monkeypatch, breaker, log_level="critical") as server:
        yield server, breaker


def ask(server: Live, text: str) -> tuple[int, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENT_S)
    connection.request("POST", "/rerank", json.dumps({"query": f"owl {text}", "documents": [text, "an owl song"]}))
    response = connection.getresponse()
    body = json.loads(response.read())
    connection.close()
    return response.status, body


@pytest.mark.parametrize("fault", FAULTS)
def test_a_pass_that_breaks_costs_its_request_only(broken, fault):
    server, breaker = broken
    breaker.fault = fault
    status, body = ask(server, f"bad {fault.__name__}")
    assert (status, body["error_type"]) == (500, "internal")
    breaker.fault = None
    status, body = ask(server, f"good {fault.__name__}")
    assert (status, body["meta"]["encoded"]) == (200, 2)
    assert server.is_free()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_worker_that_dies_between_passes_costs_its_request_only(broken, fault, monkeypatch):
    server, _ = broken
    shared = server.app.state.dependencies.engine.models.default.source.shared_encoder

    def die():
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(shared, "_pick", die)
        assert ask(server, f"bad {fault.__name__}")[0] == 500
    status, body = ask(server, f"good {fault.__name__}")
    assert (status, body["meta"]["encoded"]) == (200, 2)
    assert server.is_free()


def statuses(server: Live, each: int) -> Counter[int]:
    """The statuses that many concurrent clients get."""
    results: list[int] = []

    def client(number: int) -> None:
        results.extend(ask(server, f"text {number} {at}")[0] for at in range(each))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Counter(results)


@pytest.mark.parametrize("each", [PER_CLIENT, pytest.param(SOAK, marks=pytest.mark.soak)])
def test_every_request_is_answered_while_every_third_pass_breaks(broken, each, count):
    server, breaker = broken
    breaker.share = 0.3
    results = statuses(server, each)
    breaker.share = 0
    count("requests while every third pass breaks", CLIENTS * each, results[500], results[200])
    assert results[500] > 0
    assert results[200] > CLIENTS * each / 10  # the passes of a request depend on concurrent requests
    assert server.is_free()
    for at in range(20):
        assert ask(server, f"after {at}")[0] == 200


def test_a_clock_that_jumps_changes_nothing(broken, monkeypatch):
    server, _ = broken
    true_time = time.time
    for days in (1, -1, 20_000, -20_000):
        monkeypatch.setattr(time, "time", lambda days=days: true_time() + 86_400 * days)
        status, body = ask(server, f"day {days}")
        assert (status, body["meta"]["degraded"]) == (200, [])
    assert server.is_free()


def test_a_model_whose_folder_vanishes_serves_on(tmp_path):
    models = tmp_path / "models"
    shutil.copytree(Settings().model_dir, models)
    documents = [f"owl number {i} " * (1 + i % 40) for i in range(30)]
    with serving(Settings(data_dir=tmp_path / "data", model_dir=models)) as client:
        assert client.app.state.dependencies.engine.state.phase == "ready"
        shutil.rmtree(models)
        for at in range(2):
            body = {"query": f"owl {at}", "documents": [f"{at} {text}" for text in documents], "deadline_ms": 0}
            answer = client.post("/rerank", json=body)
            assert (answer.status_code, answer.json()["meta"]["encoded"]) == (200, 30)
        assert client.get("/health/ready").status_code == 200
