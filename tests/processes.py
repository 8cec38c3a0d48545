"""Server processes, started with the command line, and forked ones."""

import multiprocessing
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from scripts.trial import free_port
from tests.waiting import PATIENT_S, eventually

STARTED_WITHIN_S = 300  # the first start on a machine prepares the model


@contextmanager
def running(
    command: Sequence[str | Path], environment: Mapping[str, str], log: Path
) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """Start a server and wait until it is ready; the process and a client. It is terminated at the end of the block."""
    port = free_port()
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own
            [*command, "--port", str(port)], env=environment, stdout=output, stderr=output
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENT_S) as client:

            def ready() -> bool:
                assert process.poll() is None, log.read_text()
                return is_ready(client)

            eventually(ready, STARTED_WITHIN_S)
            yield process, client
    finally:
        process.terminate()
        process.wait(PATIENT_S)


def is_ready(client: httpx.Client) -> bool:
    """Whether a server reports that it is ready."""
    try:
        return client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def holds_in_fork(law: Callable[[], object]) -> bool:
    """Whether this is true in a process forked from this one; it is killed if it does not end."""
    child = multiprocessing.get_context("fork").Process(target=lambda: law() or sys.exit(1), daemon=True)
    with warnings.catch_warnings(category=DeprecationWarning, action="ignore"):  # of Python 3.12: there are threads
        child.start()
    child.join(PATIENT_S)
    child.kill()
    return child.exitcode == 0
