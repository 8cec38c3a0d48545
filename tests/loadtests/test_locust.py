"""Locust itself against the real server with the weight-free model."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """The reports of a run of a few users for a few seconds, Locust's totals, and what the command did."""
    reports = tmp_path_factory.mktemp("reports")
    options = ["--seconds", "6", "--users", "10", "--reports", reports, "--collections", reports, "--shape", "peak"]
    command = [sys.executable, "-m", "loadtests", *map(str, options)]
    variables = os.environ | {"QRERANK_MODEL": "hash"}
    done = subprocess.run(command, check=False, cwd=ROOT, env=variables, capture_output=True, text=True)  # noqa: S603
    with (reports / "peak_stats.csv").open() as file:
        return reports, {row["Name"]: row for row in csv.DictReader(file)}, done


def test_every_kind_is_asked_for_and_answered_rightly(short):
    _, rows, done = short
    assert set(rows) == {"similarity", "small", "medium", "large", "Aggregated"}, done.stdout + done.stderr
    assert int(rows["Aggregated"]["Request Count"]) > 30
    assert int(rows["Aggregated"]["Failure Count"]) == 0


def test_the_verdict_is_the_exit_status(short):
    _, _, done = short
    assert done.returncode == (0 if "peak: passed" in done.stdout else 1)
    assert ("peak: FAILED" in done.stdout) == bool(done.returncode)
    assert "| ≤ 500 |" in done.stdout
    assert "rss_mb" in done.stdout


def test_users_come_as_the_shape_says(short):
    reports, _, _ = short
    with (reports / "peak_stats_history.csv").open() as file:
        assert (
            max(int(row["User Count"]) for row in csv.DictReader(file)) == 20
        )  # twice the normal number, in the middle
    assert "<html" in (reports / "peak.html").read_text()


def test_a_missed_threshold_is_a_failure(short):
    """Nobody answers there, so nothing is right."""
    reports, _, _ = short
    command = [sys.executable, "-m", "locust", "-f", "loadtests/locustfile.py", "--headless", "--exit-code-on-error=0"]
    variables = os.environ | {
        "LOADTESTS_SHAPE": "normal",
        "LOADTESTS_SECONDS": "5",
        "LOADTESTS_USERS": "2",
        "LOADTESTS_COLLECTIONS": str(reports),
    }
    command += ["--host", "http://127.0.0.1:9"]
    done = subprocess.run(command, check=False, cwd=ROOT, env=variables, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 1, done.stdout + done.stderr
    assert "normal: FAILED" in done.stdout
