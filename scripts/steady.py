"""Find flaky tests: run the tests repeatedly on a busy machine (`make steady`)."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

LOGS = Path("build/steady")
# Ends by itself when its parent process has ended, however that happened.
_BUSY = "import os, sys\nwhile os.getppid() == int(sys.argv[1]):\n    sum(range(10**5))\n"


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Within the block, this number of processes compute without pause."""
    command = [sys.executable, "-c", _BUSY, str(os.getpid())]
    processes = [subprocess.Popen(command) for _ in range(loops)]  # noqa: S603 - our own
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def passes(command: Sequence[str], log: Path) -> bool:
    """Run a command with its output in a log; whether it succeeded. It is terminated with this process."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=variables, start_new_session=True)  # noqa: S603
    try:
        return process.wait() == 0
    finally:
        with suppress(ProcessLookupError):  # the whole group has ended
            os.killpg(process.pid, signal.SIGTERM)


def steady(runs: int, command: Sequence[str], logs: Path = LOGS) -> bool:
    """Run a command repeatedly, printing a line per run; whether all runs succeeded. Logs of failed runs are kept."""
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    failed = 0
    for run in range(1, runs + 1):
        log, start = logs / f"run-{run}.log", time.monotonic()
        passed = passes(command, log)
        print(f"run {run}: {'passed' if passed else 'FAILED'}, {time.monotonic() - start:.0f} s", flush=True)
        if passed:
            log.unlink()
        else:
            failed += 1
            output = log.read_text(encoding="utf-8", errors="replace").splitlines()
            failures = [line for line in output if line.startswith(("FAILED ", "ERROR "))]
            print(*failures, f"log: {log}", sep="\n", flush=True)
    print(f"{runs - failed} of {runs} runs passed", flush=True)
    return failed == 0


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--loops", type=int, default=len(os.sched_getaffinity(0)), help="busy processes (%(default)s)")
    parser.add_argument("command", nargs="*", default=["make", "--no-print-directory", "test"])
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that the `with` blocks are left
    with busy(arguments.loops):
        sys.exit(0 if steady(arguments.runs, arguments.command) else 1)


if __name__ == "__main__":
    main()
