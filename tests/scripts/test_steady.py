import subprocess
import sys
from pathlib import Path

# Fails on its second run.
COUNTED = """
import pathlib, sys
runs = pathlib.Path("runs")
runs.write_text(runs.read_text() + "x" if runs.exists() else "x")
print("FAILED tests/test_owl.py::test_song - it was silent")
sys.exit(runs.read_text() == "xx")
"""


def test_each_run_is_printed_and_one_that_failed_decides(tmp_path):
    command = [str(Path(__file__).parents[2] / "scripts" / "steady.sh"), "3", sys.executable, "-c", COUNTED]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 1
    assert [line.partition(",")[0] for line in done.stdout.splitlines()] == [
        "run 1: passed",
        "run 2: FAILED",
        "FAILED tests/test_owl.py::test_song - it was silent",
        "log: build/steady/run-2.log",
        "run 3: passed",
        "2 of 3 runs passed",
    ]
    assert [log.name for log in (tmp_path / "build" / "steady").iterdir()] == ["run-2.log"]
