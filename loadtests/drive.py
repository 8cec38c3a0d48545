"""Runs Locust in a process of its own, because it rewrites the standard library of the process it is in."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from loadtests.run import Run, read
from loadtests.service import MemoryWatch, Target

HERE = Path(__file__).parent
_ENDS_WITHIN_S = 60.0  # after its plan is over
_TAIL = 3000


def drive(
    target: Target,
    environment: dict[str, str],
    options: Sequence[str] = (),
    *,
    locustfile: str = "locustfile.py",
    longest_s: float,
    step: Callable[[float], object] = lambda _: None,
) -> tuple[Run, str]:
    """Let Locust load a service without its page; the run, times counted from its start, and what Locust printed.

    environment: what `loadtests/users.py` reads. longest_s: how long it should take at most. step: called about every
    second with the seconds so far. RuntimeError with the end of its log if it takes much longer, or tells nothing.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "run.json"
        variables = {name: value for name, value in os.environ.items() if not name.startswith("LOADTESTS_")}
        variables |= environment | {"LOADTESTS_RESULT": str(result), "COLUMNS": "120"}
        if target.keys:
            variables["LOADTESTS_KEYS"] = str(target.keys)
        elif target.key:
            variables["LOADTESTS_KEY"] = target.key
        usual = ["--headless", "--only-summary", "--stop-timeout", "10", "--host", target.url, "--loglevel", "WARNING"]
        # 0 for failed requests, too: our own thresholds judge.
        command = [sys.executable, "-m", "locust", "-f", str(HERE / locustfile), *usual, "--exit-code-on-error", "0"]
        watch = MemoryWatch(target.pids)
        try:
            log = _wait([*command, *options], variables, longest_s + _ENDS_WITHIN_S, step)
        finally:
            watch.stop()
        if not result.exists():
            raise RuntimeError(f"Locust wrote no result:\n{log[-_TAIL:]}")
        run = read(result)
    run.memory = [(at, mb) for at, mb in watch.readings if run.started <= at <= run.ended]
    return run.since_start(), log


def _wait(command: Sequence[str], variables: dict[str, str], longest_s: float, step: Callable[[float], object]) -> str:
    """What a command printed, once it is done; RuntimeError if it fails or takes too long."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)  # noqa: S603 - ours
        start = time.monotonic()
        try:
            while process.poll() is None and time.monotonic() - start < longest_s:
                time.sleep(0.5)
                step(time.monotonic() - start)
        finally:
            late = process.poll() is None
            if late:
                process.kill()
                process.wait()
        log.seek(0)
        text = log.read().decode(errors="replace")
    if late or process.returncode:
        what = f"took longer than {longest_s:.0f} s" if late else f"ended with {process.returncode}"
        raise RuntimeError(f"Locust {what}:\n{text[-_TAIL:]}")
    return text
