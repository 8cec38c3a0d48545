"""Finds, downloads (as a Debian package), runs and queries Prometheus and promtool."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from benchmarks.server import running
from scripts.trial import free_port

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / ".tools"
CONFIGURATION = ROOT / "deploy" / "prometheus.yml"
_PACKAGE = "prometheus"  # Debian's, with both programs
_WITHIN_S = 30


class Missing(Exception):
    """A program is not installed and cannot be downloaded."""


def found(program: str) -> Path | None:
    """The path of a program that is on the PATH or was downloaded; None if there is none."""
    path = shutil.which(program, path=str(TOOLS / "usr" / "bin")) or shutil.which(program)
    return Path(path) if path else None


def had(program: str) -> Path:
    """The path of a program, downloaded into `.tools` from Debian's package if needed, without root. Raises Missing."""
    if found(program) is None:
        _download()
    if path := found(program):
        return path
    raise Missing(f"Debian's package {_PACKAGE} does not contain {program}")


def _download() -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise Missing("promtool is not on the PATH, and apt-get and dpkg are not available to download it")
    print(f"downloading Debian's package {_PACKAGE} into {TOOLS}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        status, output = run("apt-get", "download", _PACKAGE, folder=folder)
        if status:  # container images have no package lists; without root, they go to another folder
            (folder / "lists" / "partial").mkdir(parents=True)
            own = ("-o", f"Dir::State::lists={folder}/lists", "-o", f"Dir::Cache={folder}")
            run("apt-get", *own, "update", folder=folder)
            status, output = run("apt-get", *own, "download", _PACKAGE, folder=folder)
        if status:
            raise Missing(f"`apt-get download {_PACKAGE}` failed: {output.strip() or 'no reason given'}")
        TOOLS.mkdir(exist_ok=True)
        run("dpkg", "-x", *folder.glob("*.deb"), TOOLS, folder=folder)


def run(*command: str | Path, folder: Path) -> tuple[int, str]:
    """Run a program; its exit status and output."""
    done = subprocess.run(  # noqa: S603 - ours
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.returncode, done.stdout


class Prometheus:
    """A Prometheus server that scrapes one service every second."""

    def __init__(self, port: int) -> None:
        """port: its port on this machine."""
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def ask(self, query: str) -> list[dict[str, Any]]:
        """Run an instant query; its series. RuntimeError with Prometheus' message if the query is invalid."""
        answer = httpx.get(f"{self._url}/query", params={"query": query}).json()
        if answer["status"] != "success":
            raise RuntimeError(answer["error"])
        return list(answer["data"]["result"])

    def await_scrapes(self, more: int) -> None:
        """Wait for this number of further scrapes; RuntimeError if they do not happen in time."""
        due, end = self._scrapes() + more, time.monotonic() + _WITHIN_S
        while self._scrapes() < due:
            if time.monotonic() > end:
                raise RuntimeError("Prometheus does not scrape the service")
            time.sleep(0.2)

    def _scrapes(self) -> float:
        results = self.ask("count_over_time(up[1h])")
        return float(results[0]["value"][1]) if results else 0.0


@contextmanager
def scraping(program: Path, service: int, rules: Path) -> Iterator[Prometheus]:
    """Run Prometheus with docker-compose.yml's configuration and these rules, scraping the service every second."""
    config = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))
    config["global"] = dict.fromkeys(config["global"], "1s")
    config["rule_files"] = [str(rules.resolve())]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{service}"]}]
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prometheus.yml"
        file.write_text(json.dumps(config), encoding="utf-8")  # which is YAML
        options = (f"--config.file={file}", f"--storage.tsdb.path={folder}/data")
        command = [str(program), *options, f"--web.listen-address=127.0.0.1:{port}"]
        with running(command, port, "/-/ready", {}, Path(folder)):
            prometheus = Prometheus(port)
            prometheus.await_scrapes(1)
            yield prometheus
