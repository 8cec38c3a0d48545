"""Builds a wheel of this project that includes the default model."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from app.cli.progress import bar
from app.settings import Settings
from retrieval.encoder.openvino_runtime import QUANTISED
from retrieval.encoder.prepare import prepare
from retrieval.encoder.weights import DEFAULT_MODEL

ROOT = Path(__file__).parents[2]
PACKAGES = ("app", "quantum", "retrieval")
SHIPPED = Path("retrieval", "encoder", "shipped")  # where `retrieval.encoder.prepare` looks
_PROJECT = ("pyproject.toml", "README.md", "LICENSE")
# A third of the whole model: without the floating-point files, since int8 runs on every CPU.
_SHIPPED = (QUANTISED, Path(QUANTISED).with_suffix(".bin").name, "tokenizer.json", "spec.json")


def build(work: Path, into: Path) -> Path:
    """Build the wheel in the folder `into` from a copy of the sources in `work`. CalledProcessError if that fails."""
    sources = work / "sources"
    copy_sources(sources)
    with bar("preparing") as report:
        prepared = prepare(DEFAULT_MODEL, Settings().model_dir, report)
    shipped = sources / SHIPPED / prepared.name
    shipped.mkdir(parents=True)
    for name in _SHIPPED:
        shutil.copy(prepared / name, shipped / name)
    output = work / "made"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(output), str(sources)]
    subprocess.run(command, check=True)  # noqa: S603 - our own
    (wheel,) = output.glob("*.whl")
    into.mkdir(parents=True, exist_ok=True)
    return Path(shutil.move(wheel, into / wheel.name))


def copy_sources(to: Path) -> None:
    """Copy the sources of a wheel, so that it contains no leftovers of other builds."""
    to.mkdir(parents=True)
    for name in _PROJECT:
        shutil.copy(ROOT / name, to / name)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))


def modules() -> set[str]:
    """The Python files of this project's packages and the files of its pages, by their names in a wheel."""
    code = [path for name in PACKAGES for path in (ROOT / name).rglob("*.py")]
    pages = [path for path in (ROOT / "app" / "pages" / "static").rglob("*") if path.is_file()]
    return {path.relative_to(ROOT).as_posix() for path in (*code, *pages)}


def strays(names: Collection[str]) -> set[str]:
    """The files of a wheel that belong neither to this project's packages nor to the wheel's metadata."""
    return {name for name in names if name.split("/")[0] not in PACKAGES and ".dist-info/" not in name}
