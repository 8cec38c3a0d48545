"""Clients' data never appears in logs or errors and is never executed."""

import http.client
import json

import httpx
import pytest

from app.settings import Settings
from tests.app.lines import logged
from tests.app.live import live
from tests.app.talking import connect
from tests.conftest import serving
from tests.faults.bodies import routes
from tests.waiting import PATIENT_S

MARKED = "s3cr3t-${jndi:ldap://x}-{{7*7}}-<script>alert(1)</script>-'; DROP TABLE keys; ---$(touch /tmp/run)-%s%n"
WRONG = (None, 7, [[]])


def marked(value):
    """A body with all texts replaced by a marked secret."""
    if isinstance(value, str):
        return MARKED
    if isinstance(value, dict):
        return {key: marked(item) for key, item in value.items()}
    return [marked(item) for item in value] if isinstance(value, list) else value


def broken(body):
    """The body with each field in turn missing or of a wrong type, so that all errors occur."""
    for key in body:
        yield {name: value for name, value in body.items() if name != key}
        yield from (body | {key: wrong} for wrong in WRONG)
        yield body | {key: {"secret": MARKED}}
        yield body | {key: [MARKED, 7]}


@pytest.fixture
def chatty(tmp_path):
    settings = Settings(model="hash", data_dir=tmp_path, limits={"query_characters": 200})
    with logged() as lines, serving(settings) as client:
        yield client, lines


def test_no_log_and_no_error_repeats_what_was_sent(tmp_path, monkeypatch):
    settings, errors = Settings(model="hash", data_dir=tmp_path, limits={"query_characters": 200}), 0
    with logged() as lines:
        with live(settings, monkeypatch) as here:
            connection = http.client.HTTPConnection("127.0.0.1", here.port, timeout=PATIENT_S)
            for path, sent in everything_wrong(here.app):
                connection.request("POST", path, sent)
                response = connection.getresponse()
                answer = response.read()
                if response.status != 200:
                    errors += 1
                    assert b"s3cr3t" not in answer, (path, sent, answer)
        read, text = lines.read, lines.text
    assert errors > 500
    assert len(read) > errors
    assert "s3cr3t" not in text


def everything_wrong(app):
    """All paths that take bodies, each with its examples, marked and broken."""
    for path, examples in routes(app):
        for example in examples:
            whole = marked(example)
            long = whole | {"query": MARKED * 9, "text1": MARKED * 9}
            bodies = [*map(json.dumps, [example, whole, *broken(whole), long])]
            yield from ((path, sent) for sent in [*bodies, bodies[1][:-3], f"{MARKED}{{"])


def test_nor_does_a_crash(chatty):
    client, lines = chatty
    client.app.state.dependencies.engine.models.default.rerank = crash
    response = client.post("/rerank", json={"query": MARKED, "documents": [MARKED]})
    assert response.status_code == 500
    assert "s3cr3t" not in response.text + lines.text


def crash(*arguments, **options):
    try:
        {}[MARKED]
    except KeyError:
        raise ValueError(MARKED) from ExceptionGroup(MARKED, [OSError(MARKED)])


@pytest.mark.parametrize("rerank", [None, crash])
def test_nor_does_a_server_that_tells_all_it_can(tmp_path, monkeypatch, rerank):
    """Tracebacks, connections and libraries' log lines at debug level."""
    body = {"query": MARKED, "documents": [MARKED], "exclude": ["s3cr3t owl"]}
    settings = Settings(model="hash", data_dir=tmp_path, engine={"drain_seconds": 0})
    with logged() as lines:
        with live(settings, monkeypatch) as here:
            if rerank:
                monkeypatch.setattr(here.app.state.dependencies.engine.models.default, "rerank", rerank)
            for path in ("/rerank", "/v1/rerank/stream"):
                httpx.post(
                    f"http://127.0.0.1:{here.port}{path}?q={MARKED}",
                    json=body,
                    headers={"Cookie": "s3cr3t"},
                    timeout=PATIENT_S,
                )
            with connect(f"ws://127.0.0.1:{here.port}/v1/ws?q=s3cr3t") as connection:
                connection.send(json.dumps(body | {"type": "rerank", "id": 1}))
                kind = "error" if rerank else "final"
                while f'"type":"{kind}"' not in connection.recv(timeout=PATIENT_S)[:30]:
                    pass
                connection.send(MARKED)
                connection.recv(timeout=PATIENT_S)
        text = lines.text
    assert "s3cr3t" not in text
    assert text.count('"event":"request"') == 4
    assert text.count(" in crash") == (3 if rerank else 0)


def test_control_characters_and_odd_spellings_are_texts_like_others(chatty):
    client, _ = chatty
    odd = ["\x00", "\x1b[2J", "\u202e", "\ufeff", "e\u0301", "ﬁ", "😀", "\x7f\x80", "owl\x00owl", ""]
    answer = client.post("/rerank", json={"query": "owl", "documents": odd, "return_documents": True}).json()
    assert sorted(row["index"] for row in answer["results"]) == list(range(len(odd)))
    assert all(row["document"]["text"] == odd[row["index"]] for row in answer["results"])


def test_spellings_of_one_word_are_one_word_to_bm25(chatty):
    client, _ = chatty
    documents = ["cafe\u0301 ﬁne", "CAF\u00c9 fine", "caf\uff45\u0301 fine"]
    body = {"query": "caf\u00e9 fine", "documents": documents, "explain": True}
    scores = {row["scores"]["lexical"] for row in client.post("/rerank", json=body).json()["results"]}
    assert len(scores) == 1
