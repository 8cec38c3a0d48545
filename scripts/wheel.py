"""`make wheel`: build a wheel that includes the default model, install it where nothing is, and serve there offline."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Annotated

import typer

from app.cli.progress import bar
from app.settings import Settings
from benchmarks.server import resident_bytes, running
from retrieval.encoder.openvino_runtime import QUANTISED
from retrieval.encoder.prepare import prepare
from retrieval.encoder.weights import DEFAULT_MODEL
from scripts import trial
from scripts.image.trial import IDLE_MB
from scripts.trial import Findings

ROOT = Path(__file__).parents[1]
PACKAGES = ("app", "quantum", "retrieval")
SHIPPED = Path("retrieval", "encoder", "shipped")  # where `retrieval.encoder.prepare` looks
_PROJECT = ("pyproject.toml", "README.md", "LICENSE")
# A third of the whole model: without the floating-point files, since int8 runs on every CPU.
_SHIPPED = (QUANTISED, Path(QUANTISED).with_suffix(".bin").name, "tokenizer.json", "spec.json")
_FORBIDDEN = ("torch", "transformers", "sentence_transformers")


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


def install(wheel: Path, folder: Path, base: str) -> Path:
    """Create a virtual environment of the Python `base` with the wheel and its dependencies; its `bin` folder."""
    subprocess.run([base, "-m", "venv", str(folder)], check=True)  # noqa: S603 - the developer's
    programs = folder / "bin"
    command = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    subprocess.run(command, check=True)  # noqa: S603 - our own
    return programs


def serve(programs: Path, home: Path, findings: Findings) -> None:
    """Run `qrerank serve` without settings, caches or network: rank, then stop."""
    port = trial.free_port()
    ours = ("QRERANK_", "PYTHONPATH")  # with the latter, the sources would be served in the wheel's place
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "XDG_DATA_HOME": str(home / "data")}
    environment |= dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")  # nothing listens there
    since = time.monotonic()
    command = [str(programs / "qrerank"), "serve", "--port", str(port)]
    with running(command, port, "/health/ready", environment, home) as server:
        findings.note("first start to ready", f"{time.monotonic() - since:.1f} s")
        findings.at_most("memory once ready (RSS)", resident_bytes(server.pid) / 1e6, IDLE_MB, "MB")
        findings.check("POST /rerank: the right document first", trial.ranks(port))
        code = server.stop()
        findings.check("stopped by SIGTERM", code == 0, f"exit status {code}")


def _check_contents(wheel: Path, findings: Findings) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    findings.note("wheel", f"{wheel.stat().st_size / 1e6:.1f} MB, {len(names)} files")
    missing = modules().difference(names)
    findings.check("contains every module", not missing, ", ".join(sorted(missing)) or f"{len(modules())} modules")
    licence = any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    findings.check("contains its licence", licence)


def judge(wheel: Path, base: str) -> int:
    """Install the wheel and test it; return the exit status."""
    findings = Findings()
    print(f"\n{wheel}", flush=True)
    _check_contents(wheel, findings)
    with tempfile.TemporaryDirectory(prefix="qrerank-wheel-") as folder:
        print("installing it in an empty environment", flush=True)
        environment = Path(folder) / "venv"
        programs = install(wheel, environment, base)
        size = sum(path.lstat().st_size for path in environment.rglob("*") if not path.is_dir())
        findings.note("environment", f"{size / 1e6:.0f} MB")
        unwanted = [name for name in _FORBIDDEN if any(environment.glob(f"lib/python3*/site-packages/{name}"))]
        findings.check("contains no torch or transformers", not unwanted, ", ".join(unwanted))
        home = Path(folder) / "home"
        home.mkdir()
        serve(programs, home, findings)
        prepared = [path.name for path in home.rglob("*.bin")]
        findings.check("the model needed no preparation", not prepared, ", ".join(prepared))
    return findings.verdict()


def main(python: Annotated[str, typer.Option(help="The Python to install it for.")] = sys.executable) -> None:
    """Build the wheel, install it and serve it."""
    with tempfile.TemporaryDirectory(prefix="qrerank-wheel-") as work:
        wheel = build(Path(work), ROOT / "dist")
    sys.exit(judge(wheel, python))


if __name__ == "__main__":
    typer.run(main)
