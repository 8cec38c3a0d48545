import json
import logging

import pytest
from structlog.contextvars import bound_contextvars

from app.auth import audit


@pytest.fixture
def file(tmp_path):
    audit.open_log(tmp_path / "audit.jsonl")
    yield tmp_path / "audit.jsonl"
    logging.getLogger("qrerank.audit").handlers.clear()


def test_a_line_says_who_did_what_to_which_key(file):
    audit.record("key.revoked", by="cli", origin="here", result="done", prefix="qr_ab", about={"id": "7"})
    line = json.loads(file.read_text())
    assert line.pop("time").endswith("+00:00")
    assert line == {"event": "key.revoked", "by": "cli", "from": "here", "result": "done", "key": "qr_ab", "id": "7"}


def test_it_names_the_request_that_caused_it(file):
    with bound_contextvars(request_id="the-same"):
        audit.record("key.listed", by="ada", origin="10.0.0.1", result="done")
    assert list(json.loads(file.read_text())) == ["time", "event", "by", "from", "result", "request_id"]
    assert json.loads(file.read_text())["request_id"] == "the-same"
