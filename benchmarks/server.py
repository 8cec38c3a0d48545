"""Server processes: started on a free port, waited for, watched, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from scripts.trial import free_port

READY_WITHIN_S, EXITS_WITHIN_S = 180.0, 60.0
_LOG_TAIL = 2000
ROOT = Path(__file__).parents[1]
QRERANK = str(Path(sys.executable).parent / "qrerank")


@dataclass(frozen=True)
class Server:
    """A running server."""

    port: int
    pid: int
    process: subprocess.Popen[bytes] | None = None  # where it was started here

    @property
    def url(self) -> str:
        """The server's URL."""
        return f"http://127.0.0.1:{self.port}"

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal; its exit status as in `exit_status`."""
        os.kill(self.pid, number)
        return self.exit_status()

    def exit_status(self) -> int:
        """Wait for its end; its exit status. TimeoutExpired if it does not exit in time."""
        assert self.process is not None, "another process has started this server"
        return self.process.wait(EXITS_WITHIN_S)

    def resident_mb(self) -> float:
        """Memory that the process and its children hold, in MiB."""
        return resident_bytes(self.pid) / 2**20


def qrerank(data_dir: Path, *words: str | Path) -> None:
    """Run `qrerank …` with a data folder; CalledProcessError if it fails."""
    environment = os.environ | {"QRERANK_DATA_DIR": str(data_dir)}
    subprocess.run([QRERANK, *map(str, words)], env=environment, check=True, stdout=sys.stderr)  # noqa: S603 - ours


@contextmanager
def ours(*, workers: int = 1, checkout: Path = ROOT, **settings: str | Path | float) -> Iterator[Server]:
    """`qrerank serve` with default settings but these (`candidates=50` is QRERANK_CANDIDATES=50), its cache empty.

    Without a `data_dir` it gets a new one, which goes when the server does.

    workers: processes. checkout: the folder whose code it runs.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as data:
        usual: dict[str, str | Path | float] = {"data_dir": data, "engine__drain_seconds": 0}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("QRERANK_")}
        if "QRERANK_MODEL_DIR" in os.environ:
            kept["QRERANK_MODEL_DIR"] = os.environ["QRERANK_MODEL_DIR"]
        given = {f"QRERANK_{name.upper()}": str(value) for name, value in (usual | settings).items()}
        command = [sys.executable, "-m", "app.cli", "serve", f"--port={port}", f"--workers={workers}"]
        environment = kept | given | {"PYTHONPATH": str(checkout)}
        with running(command, port, "/health/ready", environment, checkout) as server:
            yield server


@contextmanager
def running(
    command: Sequence[str],
    port: int,
    ready: str,
    environment: Mapping[str, str],
    folder: Path | None = None,
    within_s: float = READY_WITHIN_S,
) -> Iterator[Server]:
    """Start a command that serves this port, yield once the path `ready` answers 200, stop it in the end.

    RuntimeError with the end of its log if it dies or does not get ready.
    """
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)  # noqa: S603 - ours
        try:
            end, url = time.monotonic() + within_s, f"http://127.0.0.1:{port}{ready}"
            while not answers(url):
                if process.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    tail = log.read()[-_LOG_TAIL:].decode(errors="replace")
                    raise RuntimeError(f"{' '.join(command)} did not get ready: {_status(url)}\n{tail}")
                time.sleep(0.1)
            yield Server(port, process.pid, process)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(EXITS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answers(url: str) -> bool:
    """Whether a local server answers a GET with 200."""
    return _status(url).startswith("200")


def _status(url: str) -> str:
    """The status that a server answers, and the beginning of what it says; why it does not answer."""
    try:
        response = httpx.get(url, timeout=5, trust_env=False, verify=False)  # noqa: S501 - to load CAs takes 20 ms
    except httpx.HTTPError as error:
        return str(error)
    return f"{response.status_code} {response.text[:500]}"


def processes(pid: int) -> list[psutil.Process]:
    """A process and all its descendants; none where it has ended."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def family(pid: int) -> list[int]:
    """The numbers of a process and all its descendants."""
    return [each.pid for each in processes(pid)]


def resident_bytes(pid: int) -> float:
    """Memory that a process and its descendants hold; pages that they share count for each."""
    return float(sum(of_each(pid, lambda each: each.memory_info().rss)))


def cpu_seconds(pid: int) -> float:
    """Processor seconds that a process and its descendants took so far."""
    return sum(of_each(pid, lambda each: sum(each.cpu_times()[:2])))


def of_each(pid: int, figure: Callable[[psutil.Process], float]) -> list[float]:
    """A figure of a process and each of its descendants, without those that end meanwhile."""
    found = []
    for each in processes(pid):
        with suppress(psutil.NoSuchProcess):
            found.append(figure(each))
    return found
