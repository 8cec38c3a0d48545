"""Developer and operator scripts; not part of the installed package."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def call(command: Sequence[str | Path], *, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command and capture its output. With `check`, RuntimeError with the end of that if it fails.

    options: as of `subprocess.run`.
    """
    done = subprocess.run(  # noqa: S603 - our own
        command, capture_output=True, encoding="utf-8", errors="replace", check=False, **options
    )
    if check and done.returncode:
        words, said = " ".join(map(str, command[:8])), (done.stderr or done.stdout)[-2000:]
        raise RuntimeError(f"{words} …: exit status {done.returncode}: {said}")
    return done
