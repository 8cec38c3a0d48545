"""Which engine builds and runs the image here."""

from __future__ import annotations

import shutil
from pathlib import Path

from scripts.image.buildah import Buildah
from scripts.image.docker import Docker
from scripts.image.engine import NAMES, Engine, works


class NoEngine(Exception):
    """No image can be built here. The message says what would do."""


def choose(wanted: str | None, tools: Path) -> Engine:
    """The engine of this name, or the first that works: Docker, Podman, Buildah by the scripts in `tools`."""
    for name in (wanted,) if wanted else NAMES:
        if name == "buildah":
            if (tools / "build_image.sh").exists():
                return Buildah(tools)
        elif name in NAMES and works(name):
            return Docker(name)
    raise NoEngine(_explained(wanted, tools))


def _explained(wanted: str | None, tools: Path) -> str:
    if wanted and wanted not in NAMES:
        return f"{wanted!r} is no engine: one of {', '.join(NAMES)}"
    mute = [name for name in NAMES[:2] if (not wanted or name == wanted) and shutil.which(name)]
    silent = f"; {' and '.join(mute)} cannot reach an engine: is its service running?" if mute else ""
    scripts = (
        "" if (tools / "build_image.sh").exists() else f"; {tools} has no build_image.sh (TOOLS=FOLDER says where)"
    )
    return f"there is nothing here that builds images{silent}{scripts}"
