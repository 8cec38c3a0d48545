"""Docker and Podman, whose command lines are compatible as far as they are used here."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts.trial import free_port, resident_mb

STOPS_WITHIN_S = 40
_LOCKED = (
    *("--read-only", "--tmpfs", "/tmp:rw,mode=1777"),  # noqa: S108 - the container's
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)


def call(
    command: Sequence[str], *, check: bool = True, timeout: float | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command and capture its output. With `check`, RuntimeError with the end of stderr if it fails."""
    done = subprocess.run(command, capture_output=True, check=False, timeout=timeout)  # noqa: S603 - our own
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command[:8])} …: exit status {done.returncode}: {done.stderr.decode()[-2000:]}")
    return done


def assignments(environment: Mapping[str, str]) -> list[str]:
    """Environment variables as NAME=VALUE arguments."""
    return [f"{name}={value}" for name, value in environment.items()]


class DockerContainer:
    """A container that runs the image's default command and listens on `port` of the loopback address."""

    def __init__(self, program: str, identity: str, port: int, started: float) -> None:
        self._program, self._identity, self.port, self.started = program, identity, port, started

    def _state(self) -> dict[str, Any]:
        return _inspect(self._program, "container", self._identity)

    def alive(self) -> bool:
        """Whether it is running."""
        return bool(self._state()["State"]["Running"])

    def resident_mb(self) -> float:
        """Resident memory of the service in megabytes (10⁶ bytes)."""
        return resident_mb(self.read("/proc/1/status").decode())

    def read(self, path: str) -> bytes:
        """The content of a file in the container."""
        return call([self._program, "exec", self._identity, "cat", path]).stdout

    def health(self) -> int:
        """Run the image's HEALTHCHECK in the container; its exit status."""
        _, *command = self._state()["Config"]["Healthcheck"]["Test"]  # the first word is CMD: without a shell
        return call([self._program, "exec", self._identity, *command], check=False).returncode

    def stop(self) -> int:
        """Send the image's stop signal; the container's exit status."""
        call([self._program, "stop", "-t", str(STOPS_WITHIN_S), self._identity])
        return int(self._state()["State"]["ExitCode"])

    def log(self) -> str:
        """The container's output."""
        done = call([self._program, "logs", self._identity], check=False)
        return (done.stdout + done.stderr).decode(errors="replace")


class Docker:
    """A container engine with Docker's command line."""

    def __init__(self, program: str) -> None:
        """program: docker or podman."""
        self.name = program

    def build(self, context: Path, tag: str, arguments: Mapping[str, str]) -> None:
        """Build the context's Dockerfile, printing the build log. CalledProcessError if it fails."""
        options = [option for pair in assignments(arguments) for option in ("--build-arg", pair)]
        form = ["--format", "docker"] if self.name == "podman" else []  # Podman's default format drops HEALTHCHECK
        subprocess.run([self.name, "build", *form, *options, "--tag", tag, str(context)], check=True)  # noqa: S603

    def size_mb(self, tag: str) -> float:
        """The image's size in megabytes (10⁶ bytes)."""
        return float(_inspect(self.name, "image", tag)["Size"]) / 1e6

    @contextmanager
    def run(self, tag: str, environment: Mapping[str, str], *, locked: bool) -> Iterator[DockerContainer]:
        """Run the image on two CPUs within the block; the container is removed at its end.

        Args:
            tag: The image.
            environment: Environment variables of the container.
            locked: Whether to use a read-only root, no capabilities and no new privileges, as Kubernetes' restricted
                profile does.
        """
        port = free_port()
        variables = [option for pair in assignments(environment) for option in ("--env", pair)]
        # Rootless Podman can limit CPUs only if the system delegates that controller.
        cores = ["--cpus", "2"] if self.name == "docker" else []
        options = [*cores, "--publish", f"127.0.0.1:{port}:8000", *variables, *(_LOCKED if locked else ())]
        identity = call([self.name, "create", *options, tag]).stdout.decode().split()[-1]
        try:
            started = time.monotonic()  # after `create`: unpacking the image does not count
            call([self.name, "start", identity])
            yield DockerContainer(self.name, identity, port, started)
        finally:
            call([self.name, "rm", "--force", "--volumes", identity], check=False)

    def push(self, tag: str, to: str) -> str:
        """Push the image; its digest in the registry."""
        call([self.name, "tag", tag, to])
        subprocess.run([self.name, "push", to], check=True)  # noqa: S603
        digests: list[str] = _inspect(self.name, "image", to)["RepoDigests"]
        name = to.rpartition(":")[0]
        return next(digest.partition("@")[2] for digest in digests if digest.startswith(f"{name}@"))


def _inspect(program: str, kind: str, name: str) -> dict[str, Any]:
    objects: list[dict[str, Any]] = json.loads(call([program, kind, "inspect", name]).stdout)
    return objects[0]
