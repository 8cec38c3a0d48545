import os
import socket
import threading
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from app.telemetry.metrics_port import PortTaken, metrics_served
from scripts.trial import free_port
from tests.waiting import PATIENT_S, eventually

FOLDER = "PROMETHEUS_MULTIPROC_DIR"


@pytest.fixture(autouse=True)
def no_folder(monkeypatch):
    monkeypatch.delenv(FOLDER, raising=False)


def test_one_process_keeps_its_values_in_memory_whatever_folder_somebody_set(monkeypatch, tmp_path):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with metrics_served(1, "127.0.0.1", None):
        assert FOLDER not in os.environ


def test_several_share_a_folder_that_goes_at_the_end():
    with metrics_served(2, "127.0.0.1", None):
        folder = Path(os.environ[FOLDER])
        assert folder.is_dir()
    assert not folder.exists()
    assert FOLDER not in os.environ


def test_a_port_of_their_own_is_served_and_given_back():
    port = free_port()
    for _ in range(2):
        with metrics_served(1, "127.0.0.1", port):
            assert (
                "# TYPE qrerank_requests_total counter"
                in httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENT_S).text
            )


def test_idle_connections_take_no_more_threads_than_there_are(monkeypatch):
    monkeypatch.setattr("app.telemetry.metrics_port._Handler.timeout", 1)
    port, before = free_port(), threading.active_count()
    with metrics_served(1, "127.0.0.1", port), ExitStack() as idle:
        for _ in range(300):
            idle.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert threading.active_count() <= before + 17

        def answered() -> bool:
            try:
                return "qrerank_requests_total" in httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENT_S).text
            except httpx.TransportError:
                return False

        eventually(answered)  # once silent connections have timed out


def test_a_port_that_is_taken_is_told(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"127.0.0.1:{port}.*__METRICS_PORT"), metrics_served(2, "127.0.0.1", port):
            pass
    assert FOLDER not in os.environ


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 300])
def test_a_host_that_is_none_is_told(host):
    with pytest.raises(PortTaken, match=r"cannot be served on .*__METRICS_PORT"), metrics_served(1, host, free_port()):
        pass
