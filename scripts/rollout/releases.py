"""Versions of the package, each installed in a folder of its own as pip installs it."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from scripts.rehearsal.place import Place
from scripts.wheel.build import copy_sources

NOW = version("quantum-rerank")


def next_version(now: str) -> str:
    """The one after it: 0.1.0 is followed by 0.1.1. ValueError for one that does not end in a number."""
    found = re.fullmatch(r"(.*?)(\d+)", now)
    if found is None:
        raise ValueError(f"the version {now} does not end in a number")
    return f"{found[1]}{int(found[2]) + 1}"


def install(place: Place, folder: Path, number: str) -> Place:
    """The tree with another version number, installed into a folder: a place where commands find it first."""
    source, target = folder / "source", folder / "site"
    copy_sources(source)
    project = source / "pyproject.toml"
    text, found = re.subn(r'^version = ".*"$', f'version = "{number}"', project.read_text("utf-8"), flags=re.MULTILINE)
    if found != 1:
        raise RuntimeError("pyproject.toml says its version in another way; the rehearsal must learn it")
    project.write_text(text, encoding="utf-8")
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        raise RuntimeError(f"pip did not install version {number}: {done.stderr[-2000:]}")
    (folder / ".venv").symlink_to((place.folder / ".venv").resolve())
    return replace(place, folder=folder).given(PYTHONPATH=target)
