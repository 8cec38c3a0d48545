"""Build the serving image and test it, unrestricted and locked down. Exit status 1 if it misses a target."""

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

from scripts import call
from scripts.image.engines import Buildah, Docker
from scripts.image.trial import try_image
from scripts.trial import Findings

ROOT = Path(__file__).parents[2]
PAPERS = ROOT / "dist"  # the files of a release
TAG = "quantum-rerank:latest"
NAMES = ("docker", "podman", "buildah")


def choose(requested: str | None, tools: Path) -> Docker | Buildah:
    """The requested engine, or the first that works, Buildah with the scripts in `tools`. RuntimeError if none does."""
    if requested and requested not in NAMES:
        raise RuntimeError(f"{requested!r} is not an engine: use one of {', '.join(NAMES)}")
    reasons = []
    for name in (requested,) if requested else NAMES:
        if name == "buildah":
            if (tools / "build_image.sh").exists():
                return Buildah(tools)
            reasons.append(f"{tools} has no build_image.sh (set TOOLS=FOLDER)")
        elif shutil.which(name) is None:
            reasons.append(f"{name} is not installed")
        elif call([name, "info"], check=False, timeout=30).returncode == 0:  # a client may lack a daemon
            return Docker(name)
        else:
            reasons.append(f"{name} cannot reach an engine: is its service running?")
    raise RuntimeError(f"no engine is available: {'; '.join(reasons)}")


def labels() -> dict[str, str]:
    """Build arguments for the image's labels: version, revision and date."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    revision = call(["git", "-C", str(ROOT), "rev-parse", "HEAD"], check=False).stdout.strip()
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"VERSION": project["version"], "REVISION": revision or "unknown", "CREATED": created}


def make(engine: Docker | Buildah, tag: str, arguments: Mapping[str, str]) -> int:
    """Build the image and test it twice; return the exit status."""
    print(f"building {tag} with {engine.name}: ten minutes without a build cache", flush=True)
    since = time.monotonic()
    engine.build(ROOT, tag, arguments)
    print(f"built in {time.monotonic() - since:.0f} s\n\n{tag}", flush=True)
    findings = Findings()
    try_image(engine, tag, findings, locked=False, papers=PAPERS)
    findings.begin("the same with a read-only root, no capabilities and no new privileges")
    try_image(engine, tag, findings, locked=True)
    return findings.verdict()


def _print_output(line: str) -> None:
    """Print a line; on GitHub, also set it as an output of the step."""
    print(line)
    if outputs := os.environ.get("GITHUB_OUTPUT"):
        with Path(outputs).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.image", description=__doc__)
    parser.add_argument("--tag", default=TAG, help="the image's name (%(default)s)")
    parser.add_argument("--model", help="a sentence-transformers name, or a folder below models/")
    parser.add_argument("--base", help="the Python base image, optionally with a digest")
    parser.add_argument("--source", help="the URL of this project's source, for the image's label")
    parser.add_argument("--engine", help=f"one of {', '.join(NAMES)}; default: the first that works")
    parser.add_argument("--tools", type=Path, default=ROOT / ".." / "shared" / "tools", help="build_image.sh's folder")
    parser.add_argument("--push", metavar="NAME", help="only push the existing image under this name")
    arguments = parser.parse_args()
    build_arguments = {"MODEL": arguments.model, "BASE": arguments.base, "SOURCE": arguments.source}
    try:
        engine = choose(arguments.engine or None, arguments.tools.resolve())
        if arguments.push:
            _print_output(f"digest={engine.push(arguments.tag, arguments.push)}")
            return
        given = {name: value for name, value in build_arguments.items() if value}
        sys.exit(make(engine, arguments.tag, labels() | given))
    except (RuntimeError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
