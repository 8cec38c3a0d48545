"""Server processes: started on a free port, waited for, watched, stopped."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.trial import free_port

READY_WITHIN_S = 180.0
_LOG_TAIL = 2000


@dataclass(frozen=True)
class Server:
    """A running server."""

    port: int
    pid: int

    def resident_mb(self) -> float:
        """Memory that the process and its children hold, in MiB (Linux only)."""
        return sum(_resident_kb(pid) for pid in family(self.pid)) / 1024


@contextmanager
def ours(**settings: str | Path | float) -> Iterator[Server]:
    """`qrerank serve` with default settings but these (`candidates=50` is QRERANK_CANDIDATES=50), its cache empty.

    Without a `data_dir` it gets a new one, which goes when the server does. `workers` is no setting, but an option.
    """
    port, workers = free_port(), settings.pop("workers", 1)
    with tempfile.TemporaryDirectory() as data:
        usual: dict[str, str | Path | float] = {"data_dir": data, "engine__drain_seconds": 0}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("QRERANK_")}
        if "QRERANK_MODEL_DIR" in os.environ:
            kept["QRERANK_MODEL_DIR"] = os.environ["QRERANK_MODEL_DIR"]
        given = {f"QRERANK_{name.upper()}": str(value) for name, value in (usual | settings).items()}
        command = [str(Path(sys.executable).parent / "qrerank"), "serve", f"--port={port}", f"--workers={workers}"]
        with running(command, port, "/health/ready", kept | given) as server:
            yield server


@contextmanager
def running(
    command: Sequence[str], port: int, ready: str, environment: Mapping[str, str], folder: Path | None = None
) -> Iterator[Server]:
    """Start a command that serves this port, yield once the path `ready` answers 200, stop it in the end.

    RuntimeError with the end of its log if it dies or does not get ready.
    """
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)  # noqa: S603 - ours
        try:
            end = time.monotonic() + READY_WITHIN_S
            while not answers(f"http://127.0.0.1:{port}{ready}"):
                if process.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    tail = log.read()[-_LOG_TAIL:].decode(errors="replace")
                    raise RuntimeError(f"{' '.join(command)} did not get ready: {_told(port, ready)}\n{tail}")
                time.sleep(0.1)
            yield Server(port, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answers(url: str) -> bool:
    """Whether a local server answers a GET with 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - a local server's address
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _told(port: int, path: str) -> str:
    """What a server answers, or why it does not."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            return str(response.status)
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read(500).decode(errors='replace')}"
    except OSError as error:
        return str(error)


def family(pid: int) -> list[int]:
    """A process and all its descendants, without those that end meanwhile."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [pid, *(member for child in children for member in family(int(child)))]


def _resident_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) if found else 0
