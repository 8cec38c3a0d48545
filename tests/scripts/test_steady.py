import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import PATIENT_S, eventually

LOG = "build/steady/run-1.log"

# Fails in its second run.
COUNTED = """
import pathlib, sys
runs = pathlib.Path("runs")
runs.write_text(runs.read_text() + "x" if runs.exists() else "x")
print("FAILED tests/test_owl.py::test_song - it was silent")
sys.exit(runs.read_text() == "xx")
"""


@pytest.fixture
def start(tmp_path):
    def run(*words):
        command = [sys.executable, "-m", "scripts.steady", *words]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)  # noqa: S603

    return run


def test_each_run_is_told_and_one_that_failed_decides(start, tmp_path):
    process = start("--runs", "3", "--loops", "1", "--", sys.executable, "-c", COUNTED)
    told = process.communicate(timeout=PATIENT_S)[0].splitlines()
    assert process.returncode == 1
    assert [line.partition(",")[0] for line in told] == [
        "run 1: passed",
        "run 2: FAILED",
        "FAILED tests/test_owl.py::test_song - it was silent",
        "log: build/steady/run-2.log",
        "run 3: passed",
        "2 of 3 runs passed",
    ]
    assert [log.name for log in (tmp_path / "build" / "steady").iterdir()] == ["run-2.log"]


def test_all_that_passed_is_a_success(start):
    process = start("--runs", "2", "--loops", "1", "--", sys.executable, "-c", "")
    assert process.communicate(timeout=PATIENT_S)[0].endswith("2 of 2 runs passed\n")
    assert process.returncode == 0


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def runs(pid):
    """Whether there is such a process that has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_however_it_ends_nothing_goes_on(start, tmp_path, number):
    endless = "print(1, flush=True); import time; time.sleep(600)"
    process, log = start("--runs", "1", "--loops", "2", "--", sys.executable, "-c", endless), tmp_path / LOG
    eventually(lambda: log.exists() and log.read_text())
    *loops, run = children(process.pid)
    process.send_signal(number)
    process.communicate(timeout=PATIENT_S)
    assert process.returncode != 0
    eventually(lambda: not any(map(runs, loops)))
    if number == signal.SIGKILL:
        os.kill(run, signal.SIGKILL)  # whoever kills so must see to that
    eventually(lambda: not runs(run))
