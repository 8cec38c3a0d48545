"""Locust itself against the real server with the weight-free model."""

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from benchmarks.server import ours
from loadtests.run import read

ROOT = Path(__file__).parents[2]


def load(*options, model="hash"):
    """Run the command as `make load` does."""
    command = [sys.executable, "-m", "loadtests", *map(str, options)]
    variables = os.environ | {"QRERANK_MODEL": model}
    return subprocess.run(command, check=False, cwd=ROOT, env=variables, capture_output=True, text=True)  # noqa: S603


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A run of a few users for a few seconds, its reports and what it printed."""
    reports = tmp_path_factory.mktemp("reports")
    done = load("--seconds", 6, "--users", 10, "--reports", reports, "--collections", reports, "--shape", "peak")
    return reports, orjson.loads((reports / "peak.json").read_bytes()), done


def test_every_kind_is_asked_for_and_answered_rightly(short):
    _, told, done = short
    requests = told["requests"]
    assert set(requests) == {"similarity", "small", "medium", "large", "all"}, done.stdout + done.stderr
    assert requests["all"]["requests"] > 30
    assert requests["all"]["failed"] == 0, told["messages"]


def test_the_verdict_is_the_exit_status(short):
    _, told, done = short
    assert done.returncode == (0 if told["passed"] else 1)
    assert f"peak: {'passed' if told['passed'] else 'FAILED'}" in done.stdout
    assert "│ ≤ 500 ms" in done.stdout


def test_users_come_as_the_shape_says_and_memory_is_read(short):
    _, told, _ = short
    assert told["users"] == 20  # twice the normal number, in the middle
    assert 50 < told["memory"]["most"] < 2000


def test_the_reports_and_the_baseline_are_there(short):
    reports, told, done = short
    assert "<html" in (reports / "peak.html").read_text()
    (saved,) = reports.glob("baselines/*/peak-6s-10users.json")
    assert orjson.loads(saved.read_bytes()) == told
    assert "baseline saved" in done.stdout


@pytest.mark.soak
def test_what_several_processes_send_is_one_run(tmp_path):
    told = {"SHAPE": "normal", "SECONDS": "8", "USERS": "10", "RESULT": tmp_path / "run.json"}
    variables = os.environ | {f"LOADTESTS_{name}": str(value) for name, value in told.items()}
    with ours(model="hash") as server:
        command = [sys.executable, "-m", "locust", "-f", "loadtests/locustfile.py", "--headless", "--processes", "2"]
        command += ["--host", f"http://127.0.0.1:{server.port}"]
        subprocess.run(command, check=True, cwd=ROOT, env=variables, capture_output=True)  # noqa: S603
    run = read(tmp_path / "run.json")
    assert len(run.samples) > 50  # as many as one process sends
    assert {sample.outcome for sample in run.samples} == {"ok"}
    assert max(users for _, users in run.users) == 10
