"""Engines that build and run an image: Docker and Podman, and Debian's Buildah with the scripts of shared/tools.

Docker's and Podman's command lines are compatible as far as they are used here. Buildah needs neither a container
engine nor a registry, but root; its containers share this machine's network and process ids, and use all of its CPUs.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts import call
from scripts.trial import free_port

STOPS_WITHIN_S = 40
_PORT = 8000  # the image's own
_USER = "10001"
_LOCKED = (
    *("--read-only", "--tmpfs", "/tmp:rw,mode=1777"),  # noqa: S108 - the container's
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)


def _options(name: str, values: Mapping[str, str]) -> list[str]:
    """An option for each value: NAME KEY=VALUE."""
    return [word for key, value in values.items() for word in (name, f"{key}={value}")]


@dataclass(frozen=True)
class Container:
    """A container that runs the image's default command and listens on `port` of the loopback address."""

    port: int
    started: float  # of `time.monotonic()`
    prefix: Sequence[str]  # the words before a command that is to run in it
    alive: Callable[[], bool]
    stop: Callable[[], int]  # sends the image's stop signal; the service's exit status
    log: Callable[[], str]

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as `call` does."""
        return call([*self.prefix, *command], check=check)


class Docker:
    """A container engine with Docker's command line: docker or podman."""

    def __init__(self, program: str) -> None:
        """program: its name."""
        self.name = program

    def build(self, context: Path, tag: str, arguments: Mapping[str, str]) -> None:
        """Build the context's Dockerfile, printing the build log. CalledProcessError if it fails."""
        form = ["--format", "docker"] if self.name == "podman" else []  # Podman's default format drops HEALTHCHECK
        command = [self.name, "build", *form, *_options("--build-arg", arguments), "--tag", tag, str(context)]
        subprocess.run(command, check=True)  # noqa: S603

    def config(self, tag: str) -> Mapping[str, Any]:
        """The image's configuration, with Docker's names."""
        found: Mapping[str, Any] = self._inspect("image", tag)["Config"]
        return found

    @contextmanager
    def run(self, tag: str, environment: Mapping[str, str], *, locked: bool) -> Iterator[Container]:
        """Run the image on two CPUs within the block; the container is removed at its end.

        Args:
            tag: The image.
            environment: Environment variables of the container.
            locked: Whether to use a read-only root, no capabilities and no new privileges, as Kubernetes' restricted
                profile does.
        """
        port = free_port()
        # Rootless Podman can limit CPUs only if the system delegates that controller.
        options = ["--cpus", "2"] if self.name == "docker" else []
        options += ["--publish", f"127.0.0.1:{port}:{_PORT}", *_options("--env", environment)]
        created = call([self.name, "create", *options, *(_LOCKED if locked else ()), tag])
        identity = created.stdout.split()[-1]

        def state() -> Mapping[str, Any]:
            found: Mapping[str, Any] = self._inspect("container", identity)["State"]
            return found

        def stop() -> int:
            call([self.name, "stop", "-t", str(STOPS_WITHIN_S), identity])
            return int(state()["ExitCode"])

        def log() -> str:
            done = call([self.name, "logs", identity], check=False)
            return done.stdout + done.stderr

        try:
            started = time.monotonic()  # after `create`: unpacking the image does not count
            call([self.name, "start", identity])
            prefix = [self.name, "exec", identity]
            yield Container(port, started, prefix, lambda: bool(state()["Running"]), stop, log)
        finally:
            call([self.name, "rm", "--force", "--volumes", identity], check=False)

    def push(self, tag: str, to: str) -> str:
        """Push the image; its digest in the registry."""
        call([self.name, "tag", tag, to])
        subprocess.run([self.name, "push", to], check=True)  # noqa: S603
        name, digests = to.rpartition(":")[0], self._inspect("image", to)["RepoDigests"]
        return next(str(digest).partition("@")[2] for digest in digests if digest.startswith(f"{name}@"))

    def _inspect(self, kind: str, name: str) -> dict[str, Any]:
        objects: list[dict[str, Any]] = json.loads(call([self.name, kind, "inspect", name]).stdout)
        return objects[0]


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
        """As `Docker.build`."""
        options = {"BUILD_ARGS": " ".join(_options("--build-arg", arguments))}
        command = [str(self._tools / "build_image.sh"), str(context), str(context / "Dockerfile"), tag]
        subprocess.run(command, env=self._environment | options, check=True)  # noqa: S603 - the project's

    def config(self, tag: str) -> Mapping[str, Any]:
        """As `Docker.config`."""
        image = json.loads(call([*self._buildah, "inspect", "--type", "image", tag]).stdout)
        found: Mapping[str, Any] = image["Docker"]["config"]
        return found

    @contextmanager
    def run(self, tag: str, environment: Mapping[str, str], *, locked: bool) -> Iterator[Container]:
        """As `Docker.run`. RuntimeError if the image's port is in use."""
        with socket.socket() as probe:  # the host's network is used
            if probe.connect_ex(("127.0.0.1", _PORT)) == 0:
                raise RuntimeError(f"port {_PORT} is in use, but the image needs it; stop its server first")
        config, log = self.config(tag), self._lab / "run.log"
        name = call([*self._buildah, "from", "--pull-never", tag]).stdout.strip()
        if locked:  # without a volume, the data folder is in /tmp
            variables = [*config["Env"], *_options("", environment)[1::2], "QRERANK_DATA_DIR=/tmp/data"]
            prefix = [str(self._tools / "ro_run.sh"), tag, _USER, _USER, *variables]
        else:
            prefix = [*self._buildah, "run", "--isolation", "chroot", *_options("--env", environment), name, "--"]
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - the project's
                [*prefix, *config["Entrypoint"], *config["Cmd"]],
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

        def stop() -> int:
            os.kill(_server(process.pid), signal.SIGTERM)  # not to Buildah itself, which would kill the service
            return process.wait(STOPS_WITHIN_S)

        try:
            yield Container(
                _PORT, time.monotonic(), prefix, lambda: process.poll() is None, stop, lambda: log.read_text("utf-8")
            )
        finally:
            for pid in [*_descendants(process.pid), process.pid] if process.poll() is None else ():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait(STOPS_WITHIN_S)
            call([*self._buildah, "rm", name], check=False)

    def push(self, tag: str, to: str) -> str:
        """As `Docker.push`; `to` may name another transport, such as oci:FOLDER:TAG."""
        with tempfile.NamedTemporaryFile() as digest:
            target = to if re.match(r"^(oci|oci-archive|docker-archive|dir|docker):", to) else f"docker://{to}"
            call([*self._buildah, "push", "--digestfile", digest.name, tag, target])
            return Path(digest.name).read_text(encoding="utf-8").strip()


def _descendants(process: int) -> list[int]:
    """The processes below a process, including those started by its threads."""
    found = []
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        for pid in map(int, children.read_text(encoding="ascii").split()):
            found += [pid, *_descendants(pid)]
    return found


def _server(process: int) -> int:
    """The service's process among the descendants of a process; RuntimeError if there is none."""
    for pid in _descendants(process):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        # Buildah's own command lines contain the command, too.
        if b"python" in words[0] and words[1].endswith(b"/bin/qrerank"):
            return pid
    raise RuntimeError("the container does not run the service")
