"""Runs the command lines of container engines."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

STOPS_WITHIN_S = 40


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
