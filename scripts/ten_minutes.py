"""Do what docs/quickstart.md says, in a fresh clone with empty caches, and print how long each step takes.

The first step serves until the last one is done; it needs port 8000.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import typer

from benchmarks.report import table
from benchmarks.server import running

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "quickstart.md"
_STEP = re.compile(r"^## (?P<title>.+?)\n(?P<text>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def steps() -> Iterator[tuple[str, str]]:
    """The steps of the page: title and shell."""
    for step in _STEP.finditer(PAGE.read_text(encoding="utf-8")):
        if shell := "".join(_SHELL.findall(step["text"])):
            yield step["title"], shell


def main() -> None:
    """Do all steps, and print the table."""
    rows, begun = [], time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        clone = Path(place) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)  # noqa: S603, S607
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("QRERANK_", "PYTHONPATH"))
        }
        environment |= {"XDG_CACHE_HOME": f"{place}/cache", "XDG_DATA_HOME": f"{place}/data"}
        (served, serving), *others = steps()
        command = ["/bin/sh", "-ec", f"exec {serving}"]
        with running(command, 8000, "/health/ready", environment, clone, within_s=3600):
            rows.append((served, time.perf_counter() - begun))
            for title, shell in others:
                since = time.perf_counter()
                subprocess.run(["/bin/bash", "-ec", shell], cwd=clone, env=environment, check=True, stdout=sys.stderr)  # noqa: S603
                rows.append((title, time.perf_counter() - since))
        rows.append(("all", time.perf_counter() - begun))
        print(table(("step", "seconds"), [(title, f"{seconds:.0f}") for title, seconds in rows]), flush=True)


if __name__ == "__main__":
    typer.run(main)
