"""What builds images and runs containers."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

NAMES = ("docker", "podman", "buildah")
STOPS_WITHIN_S = 40


class Container(Protocol):
    """A container that runs the image's own command."""

    port: int  # of this machine's loopback address, on which it answers
    started: float  # when, in seconds of `time.monotonic()`

    def alive(self) -> bool: ...  # whether it still runs
    def resident_mb(self) -> float: ...  # megabytes (10⁶ bytes) of memory that the service holds
    def health(self) -> int: ...  # exit status of the image's HEALTHCHECK, run in it now
    def read(self, path: str) -> bytes: ...  # a file in it
    def stop(self) -> int: ...  # send the image's stop signal; the exit status
    def log(self) -> str: ...  # what it printed


class Engine(Protocol):
    """What `make image` needs of an engine."""

    name: str

    def build(self, context: Path, tag: str, arguments: Mapping[str, str]) -> None:
        """Build the context's Dockerfile. CalledProcessError where that fails; it said why."""

    def size_mb(self, tag: str) -> float:
        """The image's size in megabytes (10⁶ bytes)."""

    def run(self, tag: str, environment: Mapping[str, str], *, locked: bool) -> AbstractContextManager[Container]:
        """Run the image on two processors; removed at last.

        locked: with a root that is read only, no capabilities and no new privileges, as Kubernetes' restricted profile.
        """

    def push(self, tag: str, to: str) -> str:
        """Push the image; its digest there."""


def call(
    command: Sequence[str], *, check: bool = True, timeout: float | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command and take what it prints; RuntimeError with its last words where it fails and `check`."""
    done = subprocess.run(command, capture_output=True, check=False, timeout=timeout)  # noqa: S603 - our own
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command[:8])} …: exit status {done.returncode}: {done.stderr.decode()[-2000:]}")
    return done


def assignments(environment: Mapping[str, str]) -> list[str]:
    """Variables as a command line has them."""
    return [f"{name}={value}" for name, value in environment.items()]
