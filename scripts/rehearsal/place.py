"""A place where a version of the service is installed, its environment, and its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.server import answers
from scripts.rehearsal.commands import Commands
from scripts.trial import free_port

DRAIN_S = 2
_PATIENCE_S = 60
_LOG_TAIL = 2000


@dataclass
class Process:
    """A server process."""

    port: int
    log: Path
    running: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Its number."""
        return self.running.pid

    def wait_until_ready(self) -> None:
        """RuntimeError with the end of its log if it dies, or does not get ready."""
        end = time.monotonic() + _PATIENCE_S
        while not answers(f"http://127.0.0.1:{self.port}/health/ready"):
            if self.running.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server did not get ready: {self.told()}")
            time.sleep(0.1)

    def told(self) -> str:
        """The end of its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL:]

    def ended(self) -> int:
        """Its exit status, once it has ended by itself; TimeoutExpired if it does not."""
        return self.running.wait(_PATIENCE_S)

    def stop(self) -> None:
        """Have it end, unless it has."""
        if self.running.poll() is None:
            self.running.send_signal(signal.SIGTERM)
            try:
                self.running.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.running.kill()
                self.running.wait()


@dataclass(frozen=True)
class Place:
    """A folder with a version's `.venv`, and the environment that commands are run with there."""

    folder: Path
    environment: Mapping[str, str]

    def given(self, **more: str | Path | int) -> Place:
        """The same place with these variables, too."""
        return replace(self, environment={**self.environment, **{name: str(value) for name, value in more.items()}})

    def run(self, commands: Commands, name: str) -> str:
        """What a block of the pages prints here; RuntimeError if it fails."""
        return commands.run(name, self.folder, self.environment)

    def qrerank(self, *words: str) -> str:
        """What `qrerank` prints here; CalledProcessError if it fails."""
        command = [str(self.folder / ".venv" / "bin" / "qrerank"), *words]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, check=True)  # noqa: S603
        return done.stdout.decode()

    @contextmanager
    def process(
        self, text: str = '.venv/bin/qrerank serve --port "$PORT"', variable: str = "PORT", port: int | None = None
    ) -> Iterator[Process]:
        """A server that a command of the pages starts, its port given in this variable; stopped at last.

        port: absent, one that is free.
        """
        port = port or free_port()
        log = self.folder / f"log-{port}"
        environment = {**self.environment, variable: str(port)}
        # A page's command may set variables before the program, which the shell's `exec` would not take.
        command = ["/bin/sh", "-eu", "-c", f"exec env {text.removeprefix('env ')}"]
        with log.open("wb") as output:
            running = subprocess.Popen(  # noqa: S603 - our own pages
                command, cwd=self.folder, env=environment, stdout=output, stderr=output
            )
        process = Process(port, log, running)
        try:
            yield process
        finally:
            process.stop()

    @contextmanager
    def serving(
        self, text: str = '.venv/bin/qrerank serve --port "$PORT"', variable: str = "PORT"
    ) -> Iterator[Process]:
        """The same, once it is ready."""
        with self.process(text, variable) as process:
            process.wait_until_ready()
            yield process


def install(folder: Path, data: Path, **settings: str | Path | int) -> Place:
    """A place where this version is installed, with the weight-free model, keys asked for, and a data folder."""
    folder.mkdir(parents=True)
    (folder / ".venv").symlink_to(sys.prefix)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QRERANK_")}
    usual: dict[str, str | Path | int] = {
        "QRERANK_DATA_DIR": data,
        "QRERANK_MODEL": "hash",
        "QRERANK_AUTH__ENABLED": "true",
        "QRERANK_AUTH__AUDIT_FILE": data.with_name(f"{data.name}-audit.log"),
        "QRERANK_ENGINE__DRAIN_SECONDS": DRAIN_S,
    }
    return Place(folder, kept).given(**usual | settings)
