"""Real servers for real clients, and a summary of what the judges found."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from scripts.trial import free_port
from tests.waiting import PATIENT_S

KEY = "a-key-that-only-this-test-knows"
SUMMARY = pytest.StashKey[list[str]]()


@contextmanager
def serving(data: Path, settings: dict[str, str]) -> Iterator[str]:
    """The address of a server process with the default model."""
    port = free_port()
    command = [Path(sys.executable).parent / "qrerank", "serve", "--port", str(port)]
    environment = os.environ | {"QRERANK_DATA_DIR": str(data), "QRERANK_ENGINE__DRAIN_SECONDS": "0"} | settings
    log = data / "log"
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)  # noqa: S603 - our own
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 120
        while not ready(url):
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=PATIENT_S).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="session")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("open"), {}) as url:
        yield url


@pytest.fixture(scope="session")
def keyed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = {"QRERANK_AUTH__ENABLED": "true", "QRERANK_AUTH__KEYS": f'["{KEY}"]'}
    with serving(tmp_path_factory.mktemp("keyed"), settings) as url:
        yield url


class Caller(NamedTuple):
    """Whom a client calls, with which key, and whether it is let in."""

    name: str
    url: str
    key: str | None
    let_in: bool


@pytest.fixture(params=["without keys", "right key", "wrong key"])
def caller(request: pytest.FixtureRequest) -> Caller:
    if request.param == "without keys":
        return Caller(request.param, request.getfixturevalue("open_server"), None, True)
    right = request.param == "right key"
    return Caller(request.param, request.getfixturevalue("keyed_server"), KEY if right else "not-" + KEY, right)


@pytest.fixture
def summarise(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Keep a line for the end of the run."""
    return pytestconfig.stash.setdefault(SUMMARY, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(SUMMARY, []):
        terminalreporter.write_line(line)
