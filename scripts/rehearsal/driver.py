"""Drives rehearsals: installed versions, their server processes, and the commands of docs/operations."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from app.auth import migrations
from benchmarks.server import Server, running
from scripts import call, trial
from scripts.wheel import ROOT, copy_sources

PAGES = ("backup", "upgrade", "incidents")
SERVE = '.venv/bin/qrerank serve --port "$PORT"'
VERSION, NEXT_VERSION = version("quantum-rerank"), f"{version('quantum-rerank')}+next"
HEAD, NEXT_HEAD = migrations.HEAD, f"{int(migrations.HEAD) + 1:04d}"  # schema versions
REVOKED_WITHIN_S = 5  # until all servers reject a revoked key, as docs/security.md promises
_BLOCK = re.compile(r"^(?P<indent> *)```sh *(?P<name>[\w-]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_MIGRATION = f'''"""Add a column."""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "{NEXT_HEAD}", "{HEAD}"
def upgrade() -> None:
    op.add_column("qrerank_keys", sa.Column("note", sa.String(128)))
'''
Key = Mapping[str, str]  # its `id` and the secret, `key`


class Commands:
    """The pages' shell blocks by the name after "```sh"; `unused` contains those that have not run."""

    def __init__(self, folder: Path = ROOT / "docs" / "operations") -> None:
        """Read the pages from the folder."""
        texts = "\n".join((folder / f"{page}.md").read_text(encoding="utf-8") for page in PAGES)
        self._blocks = {name: textwrap.dedent(text) for _, name, text in _BLOCK.findall(texts)}
        self.unused = set(self._blocks)

    def text(self, name: str) -> str:
        """The text of a block, which counts as run from now on."""
        self.unused.discard(name)
        return self._blocks[name]


@dataclass(frozen=True)
class Installation:
    """A folder with a version's `.venv`, and the environment variables of its commands."""

    folder: Path
    environment: Mapping[str, str]
    commands: Commands

    def with_settings(self, **settings: str | Path | int) -> Installation:
        """A copy with additional variables."""
        return replace(self, environment={**self.environment, **{name: str(value) for name, value in settings.items()}})

    def run(self, name: str) -> str:
        """Run a block of the pages here; its output. RuntimeError if a command fails."""
        return self._output("/bin/sh", "-eu", "-c", self.commands.text(name))

    def qrerank(self, *words: str) -> Any:
        """Run `qrerank … --json` here; its parsed output. RuntimeError if it fails."""
        return orjson.loads(self._output(".venv/bin/qrerank", *words, "--json"))

    def _output(self, *command: str) -> str:
        return call(command, cwd=self.folder, env=self.environment, timeout=120).stdout

    @contextmanager
    def server(self, command: str = SERVE, port: int | None = None) -> Iterator[Server]:
        """Start a server with a shell command of the pages, by default on a free port, and wait until it is ready.

        It is stopped at the end of the block. RuntimeError with the end of its log if it does not get ready.
        """
        port = port or trial.free_port()
        # A page's command may start with variable assignments, which the shell's `exec` does not accept.
        shell = ["/bin/sh", "-eu", "-c", f"exec env {command.removeprefix('env ')}"]
        environment = {**self.environment, **dict.fromkeys(("PORT", "OLD_PORT", "NEW_PORT"), str(port))}
        with running(shell, port, "/health/ready", environment, self.folder) as server:
            yield server


def install(folder: Path, commands: Commands, **settings: str | Path | int) -> Installation:
    """Install this version into a folder, with the weight-free model, authentication on, and a data folder."""
    folder.mkdir(parents=True)
    (folder / ".venv").symlink_to(sys.prefix)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QRERANK_")}
    defaults: dict[str, str | Path | int] = {
        "PYTHONPATH": ROOT,
        "QRERANK_DATA_DIR": folder / "data",
        "QRERANK_MODEL": "hash",
        "QRERANK_AUTH__ENABLED": "true",
        "QRERANK_AUTH__AUDIT_FILE": folder / "audit.log",
        "QRERANK_ENGINE__DRAIN_SECONDS": 2,
        # Several servers share the cores of one machine: a slow response is not a lost one.
        "QRERANK_ENGINE__DEADLINE_MS": 0,
    }
    return Installation(folder, environment, commands).with_settings(**defaults | settings)


def install_next(old: Installation, folder: Path) -> Installation:
    """Install the next version with pip: this one with one more migration, in the environment of the old one."""
    source, site = folder / "source", folder / "site"
    copy_sources(source)
    _substitute(source / "pyproject.toml", r'^version = ".*"$', f'version = "{NEXT_VERSION}"')
    tables = source / "app" / "auth" / "migrations"
    _substitute(tables / "__init__.py", r'^HEAD = "\d{4}"$', f'HEAD = "{NEXT_HEAD}"')
    (tables / "versions" / f"v{NEXT_HEAD}_rehearsed.py").write_text(_MIGRATION, encoding="utf-8")
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(site), str(source)]
    subprocess.run(command, check=True)  # noqa: S603 - our own
    (folder / ".venv").symlink_to(sys.prefix)
    return replace(old, folder=folder).with_settings(PYTHONPATH=site)  # takes precedence over the installed version


def _substitute(file: Path, pattern: str, line: str) -> None:
    text, count = re.subn(pattern, line, file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if count != 1:
        raise RuntimeError(f"{file.name} no longer has exactly one line like {pattern}; adapt the rehearsal")
    file.write_text(text, encoding="utf-8")


def ask(server: Server, method: str, path: str, body: object = None, key: Key | None = None) -> Any:
    """Send a request; the response's JSON. RuntimeError if its status is not 2xx."""
    status, answer = trial.ask(server.port, method, path, body, key["key"] if key else None)
    if status >= 300:
        raise RuntimeError(f"{method} {path}: {status} {answer}")
    return answer


def statuses(server: Server, *keys: Key) -> list[int]:
    """The status of one request with each of these keys."""
    body = {"query": "owl", "documents": ["an owl", "a road"]}
    return [trial.ask(server.port, "POST", "/rerank", body, key["key"])[0] for key in keys]


def create_admin(installation: Installation) -> Key:
    """Create an administrator's key with the command line."""
    options = ("--name", "admin", "--role", "admin", "--tier", "unlimited")
    return dict(installation.qrerank("keys", "create", *options))


def create_keys(server: Server, admin: Key, *names: str) -> list[Key]:
    """Create keys on a server."""
    return [ask(server, "POST", "/v1/admin/keys", {"name": name, "tier": "unlimited"}, admin) for name in names]


def seconds_until(holds: Callable[[], object], patience_s: float) -> float:
    """The seconds until the condition holds; infinity if it does not within the patience."""
    start = time.monotonic()
    while not holds():
        if time.monotonic() > start + patience_s:
            return float("inf")
        time.sleep(0.05)
    return time.monotonic() - start
