import asyncio
import json
import logging
import os
import pty
import subprocess
import sys
import threading
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from app.settings import Settings
from app.telemetry.logs import FACTS
from tests.app.lines import logged
from tests.app.live import live
from tests.app.talking import connect
from tests.paths import ROOT
from tests.waiting import PATIENT_S

BODY = {"query": "owl song", "documents": ["market prices", "an owl song"]}
SENT = "s3cr3t"
log = logging.getLogger("app.somewhere")


def test_a_line_is_one_object_with_its_facts():
    with logged() as lines:
        log.info("sorted %d texts\n", 3, extra={FACTS: {"texts": 3, "names": ["ü"]}})
    (line,) = lines.read
    assert list(line) == ["timestamp", "level", "logger", "event", "texts", "names"]
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "app.somewhere",
        "event": "sorted 3 texts",
        "texts": 3,
        "names": ["ü"],
    }


def test_what_is_not_unicode_is_written_nevertheless():
    with logged() as lines:
        log.warning("no file %s", "owl\udc80")
    assert lines.read[0]["event"] == "no file owl\udc80"


def test_a_line_that_cannot_be_made_does_not_show_what_it_was_made_of():
    with logged() as lines:
        log.warning("%d texts", SENT)
        log.warning("the next")
    assert [line["event"] for line in lines.read] == ["the next"]


@pytest.mark.parametrize(
    ("level", "told"),
    [
        ("debug", ["app DEBUG", "app INFO", "app WARNING", "uvicorn INFO", "uvicorn WARNING", "other WARNING"]),
        ("info", ["app INFO", "app WARNING", "uvicorn INFO", "uvicorn WARNING", "other WARNING"]),
        ("warning", ["app WARNING", "uvicorn WARNING", "other WARNING"]),
        ("error", []),
    ],
)
def test_libraries_never_debug(level, told):
    with logged(level=level) as lines:
        for name, logger in {"app": "app.x", "uvicorn": "uvicorn.error", "other": "qiskit.x"}.items():
            for each in ("DEBUG", "INFO", "WARNING"):
                logging.getLogger(logger).log(getattr(logging, each), "%s %s", name, each)
    assert [line["event"] for line in lines.read] == told


def fail():
    try:
        {}[SENT]
    except KeyError:
        raise ExceptionGroup(SENT, [ValueError(SENT), OSError(SENT)]) from RuntimeError(SENT)


def test_a_traceback_has_places_and_no_messages():
    with logged() as lines:
        try:
            fail()
        except ExceptionGroup:
            log.exception("it failed")
    assert SENT not in lines.text
    told = lines.read[0]["exception"].splitlines()
    assert [line for line in told if line[0] != " "] == [
        "builtins.ExceptionGroup",
        "of builtins.ValueError",
        "of builtins.OSError",
        "after builtins.RuntimeError",
    ]
    line = fail.__code__.co_firstlineno + 4
    assert f"  {__file__}:{line} in fail" in told


def test_errors_that_lead_to_each_other_end():
    one, other = ValueError(), ValueError()
    one.__cause__, other.__cause__ = other, one
    with logged() as lines:
        log.error("it failed", exc_info=one)
    assert lines.read[0]["exception"] == "builtins.ValueError\nafter builtins.ValueError"


def test_developers_may_see_the_messages():
    with logged(errors="full") as lines:
        try:
            fail()
        except ExceptionGroup:
            log.exception("it failed")
    assert "ValueError: s3cr3t" in lines.read[0]["exception"]


def test_nor_do_the_event_loop_threads_and_warnings_tell_more():
    async def lose():
        async def crash(text):
            raise ValueError(text)

        task = asyncio.create_task(crash(SENT))
        await asyncio.wait([task])
        asyncio.get_running_loop().call_soon(int, SENT)
        await asyncio.sleep(0)

    def crash():
        raise ValueError(SENT)

    with logged() as lines:
        asyncio.run(lose())
        thread = threading.Thread(target=crash)
        thread.start()
        thread.join()
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", stacklevel=1)
    assert SENT not in lines.text
    assert {(line["logger"], line["event"].partition(":")[0]) for line in lines.read} == {
        ("asyncio", "Task exception was never retrieved"),
        (
            "asyncio",
            "Exception in callback int",
        ),
        ("app.telemetry.logs", "a thread died"),
        ("py.warnings", __file__),
    }


@pytest.mark.parametrize(("form", "looks"), [("auto", "pretty"), ("json", "json"), ("pretty", "pretty")])
def test_on_a_terminal_lines_are_for_people(form, looks):
    program = f"""
import logging
from app.telemetry.logs import set_up
from app.settings import LogSettings
set_up(LogSettings(format={form!r}))
logging.getLogger("app.x").info("hello", extra={{"facts": {{"texts": 3}}}})
"""
    leader, terminal = pty.openpty()
    subprocess.run([sys.executable, "-c", program], stderr=terminal, check=True)  # noqa: S603 - our own
    os.close(terminal)
    written = os.read(leader, 10_000).decode()
    os.close(leader)
    assert written.startswith("{") == (looks == "json")
    assert ("\x1b[" in written) == (looks == "pretty")
    assert "hello" in written


@pytest.fixture
def served(tmp_path, monkeypatch):
    with live(Settings(model="hash", data_dir=tmp_path, engine={"drain_seconds": 0}), monkeypatch) as here:
        yield here


def post(here, name, path="/rerank", **body):
    url = f"http://127.0.0.1:{here.port}{path}"
    return httpx.post(url, json=BODY | body, headers={"X-Request-ID": name}, timeout=PATIENT_S)


def test_every_line_is_of_the_request_that_was_served(served, monkeypatch):
    reranker = served.app.state.dependencies.engine.models.default
    together, rerank = threading.Barrier(2), type(reranker).rerank

    def slow(query, *rest, **named):
        log.info("before %s", query)
        together.wait(PATIENT_S)
        log.info("after %s", query)
        return rerank(reranker, query, *rest, **named)

    monkeypatch.setattr(reranker, "rerank", slow)
    with logged() as lines:
        with ThreadPoolExecutor(2) as clients:
            list(clients.map(lambda name: post(served, name, query=name), ["owl", "elk"]))
        assert post(served, "sheep", path="/nowhere").status_code == 404
        *both, last = lines.first(7)
    told = {name: [line["event"] for line in both if line["request_id"] == name] for name in ("owl", "elk")}
    assert told == {name: [f"before {name}", f"after {name}", "request"] for name in ("owl", "elk")}
    assert last["request_id"] == "sheep"


def crash(*arguments, **named):
    raise ValueError(SENT)


def test_an_unforeseen_error_is_of_its_request_too_where_the_server_tells_of_it(served, monkeypatch):
    monkeypatch.setattr(served.app.state.dependencies.engine.models.default, "rerank", crash)
    with logged() as lines:
        assert post(served, "owl").status_code == 500
        told = [(line["logger"], line["level"], line["event"], line["request_id"]) for line in lines.first(3)]
    assert told == [
        ("app.telemetry.access_log", "error", "request", "owl"),
        ("app.api.problems", "error", "request owl failed: ValueError", "owl"),
        ("uvicorn.error", "error", "Exception in ASGI application", "owl"),
    ]
    assert "in crash" in lines.read[-1]["exception"]
    assert SENT not in lines.text


def test_streams_and_sockets_have_theirs(served, monkeypatch):
    monkeypatch.setattr(served.app.state.dependencies.engine.models.default, "rerank", crash)
    with logged() as lines:
        post(served, "owl", path="/v1/rerank/stream")
        address = f"ws://127.0.0.1:{served.port}/v1/ws?key={SENT}"
        with connect(address, additional_headers={"X-Request-ID": "elk"}) as connection:
            for name in ("a", "b"):
                connection.send(json.dumps(BODY | {"type": "rerank", "id": name}))
                while '"error"' not in connection.recv(timeout=PATIENT_S)[:30]:
                    pass
            told = lines.first(8, "app.")
    assert SENT not in lines.text
    # The error, its traceback and the access log; for a stream the server logs the traceback.
    assert Counter(line["request_id"] for line in told) == {"owl": 2, "elk/1/a": 3, "elk/2/b": 3}
    assert {line.get("request_id") for line in lines.read} <= {"owl", "elk", "elk/1/a", "elk/2/b"}


def test_the_documented_line_is_what_is_written(served):
    text = (ROOT / "docs/operations/logs.md").read_text()
    documented = json.loads(text.partition("```json\n")[2].partition("\n```")[0])
    with logged() as lines:
        post(served, documented["request_id"])
        (written,) = lines.first(1)
    assert list(written) == list(documented)
    for changing in ("timestamp", "ms"):
        assert type(written.pop(changing)) is type(documented.pop(changing))
    assert written == documented
