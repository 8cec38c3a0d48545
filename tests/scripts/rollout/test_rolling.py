import signal
import subprocess

import pytest

from scripts.rehearsal.findings import Findings
from scripts.rehearsal.keys import Key
from scripts.rehearsal.place import Process
from scripts.rehearse_rollout import rehearse
from scripts.rollout.records import Record
from scripts.rollout.rolling import Rollout, info, reasons, takes
from tests.app.live import live

ANYBODY = Key("", "")


def test_a_server_says_its_version_and_the_setting_and_does_as_it_says(hash_settings, monkeypatch):
    settings = hash_settings.model_copy(update={"limits": hash_settings.limits.model_copy(update={"documents": 3})})
    with live(settings, monkeypatch) as here:
        assert info(here.port)["max_client_batch_size"] == 3
        assert info(here.port).keys() == {"version", "max_client_batch_size"}
        assert [takes(here.port, ANYBODY, documents) for documents in (3, 4)] == [200, 413]


def test_a_server_that_says_nothing_of_itself_is_an_error(hash_settings, monkeypatch):
    with live(hash_settings, monkeypatch) as here:
        here.app.state.dependencies.engine.models = None
        with pytest.raises(RuntimeError, match="GET /info: 503"):
            info(here.port)


def test_reasons_are_told_once_each():
    failed = [Record("TEI", 0.0, 1.0, failures=["502"], answered=True), Record("TEI", 0.0, 1.0, failures=["502"])]
    assert reasons(failed) == "1 of 2 (502)"
    assert reasons([]) == "0 of 0"


class Asked:
    """A load whose records are known."""

    def __init__(self, *records):
        self.records = list(records)

    def stop(self):
        pass


def killed(tmp_path, monkeypatch, *records):
    """What is found of a killed server whose clients have these records; its exit status."""
    monkeypatch.setattr("scripts.rollout.rolling.QUIET_S", 0)
    findings = Findings()
    process = Process(0, tmp_path / "log", subprocess.Popen(["/bin/sleep", "60"]))
    Rollout(findings, *[None] * 4, Asked(*records), {2: process}).kill(2)
    return findings.failed, process.running.returncode


IN_FLIGHT = Record("TEI", 0.0, float("inf"), failures=["502"], answered=True)
LATER = Record("TEI", float("inf"), float("inf"), failures=["502"], answered=True)
LOST = Record("TEI", 0.0, float("inf"), failures=["502"] * 4)


@pytest.mark.parametrize(
    ("record", "failed"),
    [
        (IN_FLIGHT, []),
        (LATER, ["replica3 was killed, and only requests in flight failed"]),
        (LOST, ["all that failed were answered when they were sent again"]),
    ],
)
def test_only_requests_in_flight_may_fail_at_a_kill_and_none_may_be_lost(tmp_path, monkeypatch, record, failed):
    assert killed(tmp_path, monkeypatch, IN_FLIGHT, record) == (failed, -signal.SIGKILL)


@pytest.mark.soak
def test_the_whole_rehearsal_holds(capsys):
    assert rehearse("hash") == 0, capsys.readouterr().out
