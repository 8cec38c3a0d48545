"""Locust itself against the real server with the weight-free model."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def run(*command, **variables):
    environment = os.environ | {"QRERANK_MODEL": "hash"} | variables
    words = [sys.executable, "-m", *map(str, command)]
    return subprocess.run(words, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)  # noqa: S603


def test_every_kind_is_asked_for_and_answered_rightly_by_as_many_users_as_the_shape_says(tmp_path):
    options = ["--seconds", 6, "--users", 10, "--reports", tmp_path, "--shape", "peak"]
    done = run("loadtests", *options)
    rows = {row["Name"]: row for row in csv.DictReader((tmp_path / "peak_stats.csv").open())}
    assert set(rows) == {"similarity", "small", "medium", "large", "Aggregated"}, done.stdout + done.stderr
    assert int(rows["Aggregated"]["Request Count"]) > 30
    assert int(rows["Aggregated"]["Failure Count"]) == 0
    assert done.returncode == (0 if "peak: passed" in done.stdout else 1)
    assert ("peak: FAILED" in done.stdout) == bool(done.returncode)
    assert "| ≤ 500 |" in done.stdout and "rss_mb" in done.stdout
    history = csv.DictReader((tmp_path / "peak_stats_history.csv").open())
    assert max(int(row["User Count"]) for row in history) == 20  # twice the normal number, in the middle
    assert "<html" in (tmp_path / "peak.html").read_text()


def test_a_missed_threshold_is_a_failure():
    """Nobody answers there, so nothing is right."""
    command = ["locust", "-f", "loadtests/locustfile.py", "--headless", "--exit-code-on-error=0"]
    shape = {"SHAPE": "normal", "SECONDS": "5", "USERS": "2"}
    variables = {f"LOADTESTS_{name}": value for name, value in shape.items()}
    done = run(*command, "--host", "http://127.0.0.1:9", **variables)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "normal: FAILED" in done.stdout
