"""Server processes, started with the command line."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
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
