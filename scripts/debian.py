"""Programs of Debian's packages, unpacked into `.tools` without root where they are not installed."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from scripts import call

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / ".tools"


class Missing(Exception):
    """A program is not installed and cannot be downloaded."""


def found(program: str) -> Path | None:
    """The path of a program that is installed or was downloaded; None if there is none."""
    folders = [TOOLS / "usr" / "bin", TOOLS / "usr" / "sbin", os.environ.get("PATH", ""), "/usr/sbin"]
    path = shutil.which(program, path=os.pathsep.join(map(str, folders)))
    return Path(path) if path else None


def had(program: str, *packages: str) -> Path:
    """The path of a program, downloaded if needed with these packages. Raises Missing."""
    if found(program) is None:
        _download(packages)
    if path := found(program):
        return path
    raise Missing(f"Debian's packages {', '.join(packages)} do not contain {program}")


def environment() -> dict[str, str]:
    """The environment variables of this process, with the downloaded libraries."""
    libraries = os.pathsep.join(map(str, sorted(TOOLS.glob("usr/lib/*"))))
    return dict(os.environ) | ({"LD_LIBRARY_PATH": libraries} if libraries else {})


def _download(packages: tuple[str, ...]) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise Missing(f"{packages[0]} is not installed, and apt-get and dpkg are not available to download it")
    print(f"downloading {', '.join(packages)} of Debian into {TOOLS}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        # Container images have no package lists; without root, they go to another folder.
        (folder / "lists" / "partial").mkdir(parents=True)
        apt = ("apt-get", "-o", f"Dir::State::lists={folder}/lists", "-o", f"Dir::Cache={folder}")
        try:
            call([*apt, "update"], check=False)  # one source of several may be out of reach
            call([*apt, "download", *packages], cwd=folder)
        except RuntimeError as error:
            raise Missing(str(error)) from error
        TOOLS.mkdir(exist_ok=True)
        for archive in folder.glob("*.deb"):
            call(["dpkg", "-x", archive, TOOLS])
