"""A wheel of this project with the default model in it."""

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
# A third of the whole model: what floating point needs stays out, and int8 runs on every CPU.
_SHIPPED = (QUANTISED, Path(QUANTISED).with_suffix(".bin").name, "tokenizer.json", "spec.json")


def build(work: Path, into: Path) -> Path:
    """The wheel, in the folder `into`, made from a copy of the sources in `work`. CalledProcessError if that fails."""
    sources = work / "sources"
    copy_sources(sources)
    with bar("preparing") as report:
        prepared = prepare(DEFAULT_MODEL, Settings().model_dir, report)
    shipped = sources / SHIPPED / prepared.name
    shipped.mkdir(parents=True)
    for name in _SHIPPED:
        shutil.copy(prepared / name, shipped / name)
    made = work / "made"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(made), str(sources)]
    subprocess.run(command, check=True)  # noqa: S603 - our own
    (wheel,) = made.glob("*.whl")
    into.mkdir(parents=True, exist_ok=True)
    return Path(shutil.move(wheel, into / wheel.name))


def copy_sources(to: Path) -> None:
    """Copy what a wheel is built from, so that no leftover of another build gets into it."""
    to.mkdir(parents=True)
    for name in _PROJECT:
        shutil.copy(ROOT / name, to / name)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))


def modules() -> set[str]:
    """The Python files of this project's packages, as a wheel names them."""
    return {path.relative_to(ROOT).as_posix() for name in PACKAGES for path in (ROOT / name).rglob("*.py")}


def strays(names: Collection[str]) -> set[str]:
    """Which of a wheel's files are neither of this project's packages nor of the wheel's own description."""
    return {name for name in names if name.split("/")[0] not in PACKAGES and ".dist-info/" not in name}
