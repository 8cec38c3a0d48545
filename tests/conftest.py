"""Shared fixtures: the real default model (prepared once in the user's cache) and the weight-free one."""

import gc
import logging
import os
import string
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest
from starlette.testclient import TestClient
from structlog.contextvars import clear_contextvars
from tokenizers import Tokenizer

from app.main import create_app
from app.ranking.reranker import Reranker
from app.settings import Settings
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.encoder.late_interaction import LateInteraction
from retrieval.encoder.prepare import load_encoder
from retrieval.encoder.protocol import Encoder
from retrieval.encoder.transformer import TextEncoder
from retrieval.states.redis import RedisStates
from tests.milvus_server import MilvusProcess
from tests.waiting import PATIENT_S, Clock, eventually

PATIENT = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("house", derandomize=True, **PATIENT)  # the same in every run
hypothesis.settings.register_profile("soak", max_examples=500, **PATIENT)
hypothesis.settings.load_profile("house")

for variable in [name for name in os.environ if name.startswith("QRERANK_") and name != "QRERANK_MODEL_DIR"]:
    del os.environ[variable]
# On a busy machine a request may take longer than the default deadline of 0.4 s. Tests of deadlines set their own.
os.environ["QRERANK_ENGINE__DEADLINE_MS"] = "600000"
# No load shedding either: on a busy machine, it would depend on chance.
os.environ["QRERANK_ENGINE__LEAST_PART"] = "0"
os.environ["NUMBA_DISABLE_JIT"] = "1"  # ranx, an oracle, would be compiled for a minute


class Loggers(dict):
    """Loggers by name, listed at once: pytest goes through them while threads of a test import modules that log."""

    def values(self):
        return list(super().values())


logging.root.manager.loggerDict = Loggers(logging.root.manager.loggerDict)


def quiet(step: str, done: int, total: int) -> None:
    """Ignore progress."""


LONG = tuple(f"tests/{path}" for path in ("e2e/", "loadtests/", "faults/", "scripts/", "test_patterns.py"))


def pytest_collection_modifyitems(items):
    """Run files of few, long tests first: with several processes, the file that starts last decides when all end."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Exempt what is imported from garbage collection: it stays, and looking at all of it takes 0.2 s each time."""
    gc.disable()
    collected = yield
    gc.freeze()
    gc.enable()
    return collected


def log_levels() -> dict[str, int]:
    """The levels of our loggers."""
    ours = ("app", "quantum", "retrieval")
    return {name: logging.getLogger(name).level for name in [*logging.root.manager.loggerDict] if name.startswith(ours)}


@pytest.fixture(autouse=True)
def clean_logs():
    """Lines that a test logs carry no request id that another test bound, and have the level that they had before.

    A command may set its process's levels; tests of the command line run it in theirs.
    """
    clear_contextvars()
    before = log_levels()
    yield
    for name in log_levels():
        logging.getLogger(name).setLevel(before.get(name, logging.NOTSET))


COUNT = "count"  # a property of test reports, which pytest-xdist's workers pass on


@pytest.fixture
def count(record_property):
    """Print counts of tried, refused and survived requests at the end of the run; none may be lost."""

    def tell(what: str, tried: int, refused: int, survived: int) -> None:
        lost = tried - refused - survived
        line = f"{what}: tried {tried}, refused {refused}, survived {survived}, lost {lost}"
        record_property(COUNT, line)
        assert lost == 0, line

    return tell


def pytest_terminal_summary(terminalreporter):
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, line in report.user_properties:
            if name == COUNT and report.when == "call":
                terminalreporter.write_line(line)


@contextmanager
def serving(settings: Settings) -> Iterator[TestClient]:
    """A client of the real application, after its models have loaded."""
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        eventually(lambda: client.app.state.dependencies.engine.state.phase != "loading")
        yield client


@pytest.fixture(scope="session")
def milvus_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusProcess]:
    """A real Milvus, for tests marked `milvus`. A machine can have one at a time: its etcd uses port 2380."""
    process = MilvusProcess(tmp_path_factory.mktemp("milvus"))
    yield process
    process.kill()


@pytest.fixture
def monotonic(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A fake `time.monotonic`, which only the test advances. The timers of event loops stop, too."""
    standing = Clock(time.monotonic())
    monkeypatch.setattr(time, "monotonic", standing)
    return standing


@pytest.fixture
def fast_forward(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A function that moves the running `time.monotonic` forward by some seconds."""
    real, skipped = time.monotonic, list[float]()
    monkeypatch.setattr(time, "monotonic", lambda: real() + sum(skipped))
    return skipped.append


@pytest.fixture
def quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Health checks independent of other processes: no late probe or event loop, no large process."""
    monkeypatch.setattr("app.health.probe._PATIENCE_S", PATIENT_S)
    monkeypatch.setattr("app.health.components.LAG_S", float("inf"))
    monkeypatch.setattr("app.health.components.MEMORY_BYTES", float("inf"))


def wait_for_redis(patch: pytest.MonkeyPatch) -> None:
    """Give Redis a long time to answer, so that a busy machine does not make the state cache count as lost."""
    patch.setitem(RedisStates.__init__.__kwdefaults__, "timeout_s", PATIENT_S)
    patch.setattr(RedisStates.close, "__defaults__", (PATIENT_S,))


@pytest.fixture
def patient_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """`wait_for_redis`, during a test."""
    wait_for_redis(monkeypatch)


@pytest.fixture(scope="session")
def real_encoder() -> Encoder:
    return load_encoder("all-MiniLM-L6-v2", Settings().model_dir, quiet)


@pytest.fixture(scope="session")
def late_encoder(real_encoder: TextEncoder) -> Encoder:
    """The default model, read as ColBERT models are: its markers are [unused0] and [unused1]."""
    words = Tokenizer.from_str(real_encoder._tokenizer.to_str())
    punctuation = [words.token_to_id(character) for character in string.punctuation]
    markers, mask = {"query": 1, "document": 2}, words.token_to_id("[MASK]")
    late = LateInteraction(32, 32, mask, False, markers, {"document": punctuation})
    spec = replace(real_encoder._spec, digest="late", max_tokens=180, late_interaction=late)
    return TextEncoder(spec, words, real_encoder._forward, "test")


@pytest.fixture(scope="session")
def real_reranker(real_encoder: Encoder) -> Reranker:
    return Reranker(real_encoder)


@pytest.fixture(scope="session")
def reranker() -> Reranker:
    return Reranker(HashEncoder())


@pytest.fixture
def hash_settings(tmp_path: Path) -> Settings:
    return Settings(model="hash", data_dir=tmp_path)


@pytest.fixture
def client(hash_settings: Settings) -> Iterator[TestClient]:
    with serving(hash_settings) as started:
        yield started


@pytest.fixture(scope="module")
def shared_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of one application for all tests of a file, which leave it as it was: a start takes 40 ms."""
    with serving(Settings(model="hash", data_dir=tmp_path_factory.mktemp("data"))) as started:
        yield started
