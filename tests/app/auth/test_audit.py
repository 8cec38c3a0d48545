import json
import logging
from pathlib import Path

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


@pytest.mark.parametrize("lost", ["the folder", "the disk"])
def test_while_the_file_cannot_be_written_standard_error_has_the_lines(tmp_path, capsys, caplog, lost):
    """A refused key would be an internal error, and a new one would be made and never shown."""
    folder = tmp_path / "audit"
    audit.open_log(folder / "log" if lost == "the folder" else Path("/dev/full"))
    if lost == "the folder":
        folder.rename(tmp_path / "moved")
    for number in range(2):
        audit.record("key.created", by="ada", origin="here", result="done", prefix=f"qr_{number}")
    assert [json.loads(line)["key"] for line in capsys.readouterr().err.splitlines()] == ["qr_0", "qr_1"]
    assert "cannot be written: No " in caplog.text  # such file; space left
    if lost == "the folder":
        folder.mkdir()
        audit.record("key.revoked", by="ada", origin="here", result="done", prefix="qr_2")
        assert json.loads((folder / "log").read_text())["key"] == "qr_2"
    logging.getLogger("qrerank.audit").handlers.clear()
