"""Prometheus and its tool: found, fetched where Debian's packages can be had, run and asked."""

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
    """A program is not here, and cannot be had."""


def found(program: str) -> Path | None:
    """A program on the PATH, or one that was fetched; None if there is none."""
    here = shutil.which(program, path=str(TOOLS / "usr" / "bin")) or shutil.which(program)
    return Path(here) if here else None


def had(program: str) -> Path:
    """The same; fetched from Debian's package if need be, into a folder of ours, without root. Missing if it cannot."""
    if found(program) is None:
        _fetch()
    if here := found(program):
        return here
    raise Missing(f"{program} did not come with Debian's package {_PACKAGE}")


def _fetch() -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise Missing("promtool is not on the PATH, and there is no apt-get and dpkg to fetch it with")
    print(f"fetching Debian's package {_PACKAGE} into {TOOLS}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        status, said = run("apt-get", "download", _PACKAGE, folder=folder)
        if status:  # images come without the lists of packages, which others than root may keep elsewhere
            (folder / "lists" / "partial").mkdir(parents=True)
            own = ("-o", f"Dir::State::lists={folder}/lists", "-o", f"Dir::Cache={folder}")
            run("apt-get", *own, "update", folder=folder)
            status, said = run("apt-get", *own, "download", _PACKAGE, folder=folder)
        if status:
            raise Missing(f"`apt-get download {_PACKAGE}` failed: {said.strip() or 'no reason given'}")
        TOOLS.mkdir(exist_ok=True)
        run("dpkg", "-x", *folder.glob("*.deb"), TOOLS, folder=folder)


def run(*command: str | Path, folder: Path) -> tuple[int, str]:
    """The exit status of a program, and what it said."""
    done = subprocess.run(  # noqa: S603 - ours
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.returncode, done.stdout


class Prometheus:
    """A server that scrapes one service every second, and what it is asked."""

    def __init__(self, port: int) -> None:
        """port: where it listens on this machine."""
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The series of a query at this moment; RuntimeError with Prometheus' own words if it means nothing."""
        answer = httpx.get(f"{self._url}/query", params={"query": query}).json()
        if answer["status"] != "success":
            raise RuntimeError(answer["error"])
        return list(answer["data"]["result"])

    def await_scrapes(self, more: int) -> None:
        """Wait until it has read the service so often again; RuntimeError if it does not."""
        due, end = self._scrapes() + more, time.monotonic() + _WITHIN_S
        while self._scrapes() < due:
            if time.monotonic() > end:
                raise RuntimeError("Prometheus does not read the service")
            time.sleep(0.2)

    def _scrapes(self) -> float:
        results = self.ask("count_over_time(up[1h])")
        return float(results[0]["value"][1]) if results else 0.0


@contextmanager
def scraping(program: Path, service: int, rules: Path) -> Iterator[Prometheus]:
    """Prometheus as docker-compose.yml has it, with these rules; it reads the service on this port every second."""
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
