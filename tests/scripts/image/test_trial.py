"""One life of a container, of a real server in a process of its own."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts import trial
from scripts.image.judgement import IDLE, READY, SIZE, Judgement
from scripts.image.trial import BILL, try_image
from tests.waiting import PATIENT_S


class Local:
    """A container that is no more than a process, with what an image should have in a folder."""

    def __init__(self, port, process, papers, log):
        self.port, self._process, self._papers, self._log = port, process, papers, log
        self.started = time.monotonic()

    def alive(self):
        return self._process.poll() is None

    def resident_mb(self):
        return trial.resident_mb(Path(f"/proc/{self._process.pid}/status").read_text())

    def health(self):
        return 0 if trial.ask(self.port, "GET", "/health/ready")[0] == 200 else 1

    def read(self, path):
        return (self._papers / Path(path).name).read_bytes()

    def stop(self):
        self._process.terminate()
        return self._process.wait(PATIENT_S)

    def log(self):
        return self._log.read_text()


class Engine:
    """Runs `qrerank serve` of this environment as if it were an image's."""

    def __init__(self, folder, **settings):
        self._folder, self._settings = folder, settings

    @contextmanager
    def run(self, _tag, environment, *, locked):  # noqa: ARG002 - as an engine's
        port, log = trial.free_port(), self._folder / "log"
        usual = {
            "QRERANK_MODEL": "hash",
            "QRERANK_DATA_DIR": str(self._folder / "data"),
            "QRERANK_ENGINE__DRAIN_SECONDS": "0",
        }
        command = [Path(sys.executable).with_name("qrerank"), "serve", "--port", str(port)]
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own
                command, env=os.environ | usual | environment | self._settings, stdout=output, stderr=output
            )
        try:
            yield Local(port, process, self._folder, log)
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def papers(tmp_path):
    """A function that writes a bill of materials with these components, and the other papers."""

    def write(*names):
        bill = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"name": name} for name in names]}
        (tmp_path / BILL).write_text(json.dumps(bill))
        for name in ("licenses.txt", "debian.txt"):
            (tmp_path / name).write_text("x" * 2048)
        return tmp_path

    return write


def test_a_container_that_holds_is_told_of_with_its_figures(papers, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("scripts.image.trial._REQUESTS", 1)
    judgement = Judgement()
    try_image(Engine(papers("numpy", "openvino")), "it", judgement, locked=False, papers=tmp_path / "kept")
    assert set(judgement.missed) <= {READY.what, IDLE.what}  # how fast this machine is, is not for a test to judge
    told = capsys.readouterr().out
    for part in ("start to ready: ", "without a key: 401", "CycloneDX 1.6, 2 components", "SIGTERM: exit status 0"):
        assert part in told
    assert json.loads((tmp_path / "kept" / BILL).read_text())["specVersion"] == "1.6"


def test_torch_among_the_components_is_a_miss(papers, tmp_path, monkeypatch):
    monkeypatch.setattr("scripts.image.trial._REQUESTS", 1)
    judgement = Judgement()
    try_image(Engine(papers("Torch")), "it", judgement, locked=False, papers=tmp_path / "kept")
    assert "no torch, transformers or pip in it" in judgement.missed


def test_a_container_that_does_not_start_shows_why(papers, capsys):
    with pytest.raises(RuntimeError, match="ended before it was ready"):
        try_image(Engine(papers(), QRERANK_NO_SUCH="1"), "it", Judgement(), locked=True)
    assert "QRERANK_NO_SUCH is not a setting" in capsys.readouterr().out


@pytest.mark.parametrize(("value", "code"), [(899.9, 0), (900, 0), (900.1, 1)])
def test_a_target_is_the_most_that_may_be(value, code, capsys):
    judgement = Judgement()
    judgement.measured(SIZE, value)
    assert judgement.verdict() == code
    assert ("missed: image size" in capsys.readouterr().out) is bool(code)
