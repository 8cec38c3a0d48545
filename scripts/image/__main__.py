"""Build the serving image, run it as it is and locked up, and judge it: exit status 1 where it misses a target."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from scripts.image.buildah import Buildah
from scripts.image.commands import call
from scripts.image.docker import Docker
from scripts.image.trial import try_image
from scripts.rehearsal.findings import Findings

ROOT = Path(__file__).parents[2]
PAPERS = ROOT / "dist"  # what a release hands out
TAG = "quantum-rerank:latest"
NAMES = ("docker", "podman", "buildah")
_SIZE_MB = 900  # target


class NoEngine(Exception):
    """No image can be built here. The message says what would do."""


def choose(wanted: str | None, tools: Path) -> Docker | Buildah:
    """The engine of this name, or the first that works: Docker, Podman, Buildah by the scripts in `tools`."""
    if wanted and wanted not in NAMES:
        raise NoEngine(f"{wanted!r} is no engine: one of {', '.join(NAMES)}")
    reasons = []
    for name in (wanted,) if wanted else NAMES:
        if name == "buildah":
            if (tools / "build_image.sh").exists():
                return Buildah(tools)
            reasons.append(f"{tools} has no build_image.sh (TOOLS=FOLDER says where)")
        elif shutil.which(name) is None:
            reasons.append(f"{name} is not installed")
        elif call([name, "info"], check=False, timeout=30).returncode == 0:  # a client of Docker may have no daemon
            return Docker(name)
        else:
            reasons.append(f"{name} cannot reach an engine: is its service running?")
    raise NoEngine(f"nothing here builds images: {'; '.join(reasons)}")


def labels() -> dict[str, str]:
    """Build arguments that tell what the image was made of."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"VERSION": project["version"], "REVISION": revision or "unknown", "CREATED": created}


def make(engine: Docker | Buildah, tag: str, arguments: Mapping[str, str]) -> int:
    """Build, run twice, judge; the exit status."""
    print(f"building {tag} with {engine.name}: ten minutes where nothing is at hand", flush=True)
    since = time.monotonic()
    engine.build(ROOT, tag, arguments)
    print(f"built in {time.monotonic() - since:.0f} s\n\n{tag}", flush=True)
    findings = Findings()
    findings.at_most("image size", engine.size_mb(tag), _SIZE_MB, "MB")
    try_image(engine, tag, findings, locked=False, papers=PAPERS)
    findings.begin("the same with a read-only root, no capabilities and no new privileges")
    try_image(engine, tag, findings, locked=True)
    return findings.verdict()


def _tell(line: str) -> None:
    """Print a line; on GitHub it becomes an output of the step."""
    print(line)
    if outputs := os.environ.get("GITHUB_OUTPUT"):
        with Path(outputs).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.image", description=__doc__)
    parser.add_argument("--tag", default=TAG, help="the image's name (%(default)s)")
    parser.add_argument("--model", help="a sentence-transformers name, or a folder below models/")
    parser.add_argument("--base", help="the Python image to build on, such as one with its digest")
    parser.add_argument("--source", help="where this project's source is, for the image's label")
    parser.add_argument("--engine", help=f"one of {', '.join(NAMES)}; absent: the first that works")
    parser.add_argument("--tools", type=Path, default=ROOT / ".." / "shared" / "tools", help="build_image.sh's folder")
    parser.add_argument("--push", metavar="NAME", help="push the image that was built before under this name, and end")
    given = parser.parse_args()
    chosen = {"MODEL": given.model, "BASE": given.base, "SOURCE": given.source}
    try:
        engine = choose(given.engine or None, given.tools.resolve())
        if given.push:
            _tell(f"digest={engine.push(given.tag, given.push)}")
            return
        sys.exit(make(engine, given.tag, labels() | {name: value for name, value in chosen.items() if value}))
    except (NoEngine, RuntimeError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
