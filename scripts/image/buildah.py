"""Debian's Buildah with the scripts of shared/tools: builds the Dockerfile without a container engine or a registry.

Containers share this machine's network and process ids, and use all of its CPUs.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from scripts.image.docker import STOPS_WITHIN_S, assignments, call
from scripts.trial import resident_mb

_PORT = 8000  # the image's own port, since the host's network is used
_USER = "10001"
_UNITS = {"B": 1e-6, "KB": 1e-3, "MB": 1.0, "GB": 1e3}


class BuildahContainer:
    """A Buildah container with the methods of `DockerContainer`."""

    port = _PORT

    def __init__(self, process: subprocess.Popen[bytes], log: Path, root: Path, health: Sequence[str]) -> None:
        self._process, self._log, self._root, self._health = process, log, root, health
        self.started = time.monotonic()

    def alive(self) -> bool:
        return self._process.poll() is None

    def resident_mb(self) -> float:
        return resident_mb(Path(f"/proc/{_server(self._process.pid)}/status").read_text(encoding="utf-8"))

    def health(self) -> int:
        return call(self._health, check=False).returncode

    def read(self, path: str) -> bytes:
        return (self._root / path.removeprefix("/")).read_bytes()

    def stop(self) -> int:
        os.kill(_server(self._process.pid), signal.SIGTERM)  # not to Buildah itself, which would kill the service
        return self._process.wait(STOPS_WITHIN_S)

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")


class Buildah:
    """Debian's Buildah with the methods of `Docker`; needs root."""

    name = "buildah"

    def __init__(self, tools: Path) -> None:
        """tools: the folder of build_image.sh and ro_run.sh."""
        self._tools = tools
        self._lab = Path(os.environ.get("LAB", Path(tempfile.gettempdir()) / "image-lab"))
        self._environment = os.environ | {"LAB": str(self._lab)}
        self._buildah = ["buildah", "--root", str(self._lab / "store"), "--runroot", str(self._lab / "run")]
        self._buildah += ["--storage-driver", "vfs"]

    def build(self, context: Path, tag: str, arguments: Mapping[str, str]) -> None:
        options = " ".join(f"--build-arg {pair}" for pair in assignments(arguments))
        command = [str(self._tools / "build_image.sh"), str(context), str(context / "Dockerfile"), tag]
        subprocess.run(command, env=self._environment | {"BUILD_ARGS": options}, check=True)  # noqa: S603 - the project's

    def size_mb(self, tag: str) -> float:
        sizes = call([*self._buildah, "images", "--format", "{{.Size}}", tag]).stdout.decode()
        return in_megabytes(sizes.splitlines()[0])  # one line per name of the image

    @contextmanager
    def run(self, tag: str, environment: Mapping[str, str], *, locked: bool) -> Iterator[BuildahContainer]:
        config = json.loads(call([*self._buildah, "inspect", "--type", "image", tag]).stdout)["Docker"]["config"]
        _check_port()
        command, (_, *health) = [*config["Entrypoint"], *config["Cmd"]], config["Healthcheck"]["Test"]
        name = call([*self._buildah, "from", "--pull-never", tag]).stdout.decode().strip()
        root = Path(call([*self._buildah, "mount", name]).stdout.decode().strip())
        if locked:  # without a volume, the data folder is in /tmp
            variables = [*config["Env"], *assignments(environment), "QRERANK_DATA_DIR=/tmp/data"]
            prefix = [str(self._tools / "ro_run.sh"), tag, _USER, _USER, *variables]
        else:
            variables = [option for pair in assignments(environment) for option in ("--env", pair)]
            prefix = [*self._buildah, "run", "--isolation", "chroot", *variables, name, "--"]
        log = self._lab / "run.log"
        process = None
        try:
            with log.open("wb") as output:
                process = subprocess.Popen(  # noqa: S603 - the project's
                    [*prefix, *command], env=self._environment, stdout=output, stderr=subprocess.STDOUT
                )
            yield BuildahContainer(process, log, root, [*prefix, *health])
        finally:
            if process:
                _kill(process)
            call([*self._buildah, "umount", name], check=False)
            call([*self._buildah, "rm", name], check=False)

    def push(self, tag: str, to: str) -> str:
        """As `Docker.push`; `to` may name another transport, such as oci:FOLDER:TAG."""
        with tempfile.NamedTemporaryFile() as digest:
            target = to if re.match(r"^(oci|oci-archive|docker-archive|dir|docker):", to) else f"docker://{to}"
            call([*self._buildah, "push", "--digestfile", digest.name, tag, target])
            return Path(digest.name).read_text(encoding="utf-8").strip()


def in_megabytes(size: str) -> float:
    """Convert a size such as "1.02 GB" to megabytes (10⁶ bytes)."""
    number, unit = size.split()
    return float(number) * _UNITS[unit.upper()]


def _check_port() -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", _PORT)) == 0:
            raise RuntimeError(f"port {_PORT} is in use, but the image needs it; stop its server first")


def _process_tree(process: int) -> Iterator[int]:
    """A process and its descendants, including those started by its threads."""
    pending = [process]
    while pending:
        yield (pid := pending.pop())
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            pending += map(int, children.read_text(encoding="ascii").split())


def _server(process: int) -> int:
    """The service's process among the descendants of a process; RuntimeError if there is none."""
    for pid in _process_tree(process):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        # Buildah's own command lines contain the command, too.
        if b"python" in words[0] and words[1].endswith(b"/bin/qrerank"):
            return pid
    raise RuntimeError("the container does not run the service")


def _kill(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        for pid in list(_process_tree(process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(STOPS_WITHIN_S)
