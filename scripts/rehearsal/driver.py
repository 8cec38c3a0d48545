"""Installed versions, their server processes, and the commands that docs/operations gives."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from app.auth import migrations
from scripts import trial
from scripts.wheel.build import ROOT, copy_sources

PAGES = ("backup", "upgrade", "incidents")
SERVE = '.venv/bin/qrerank serve --port "$PORT"'
VERSION, NEXT_VERSION = version("quantum-rerank"), f"{version('quantum-rerank')}+next"
HEAD, NEXT_HEAD = migrations.HEAD, f"{int(migrations.HEAD) + 1:04d}"  # versions of the tables
REVOKED_WITHIN_S = 5  # a key everywhere, as docs/security.md promises
_EXITS_WITHIN_S = 60
_BLOCK = re.compile(r"^(?P<indent> *)```sh *(?P<name>[\w-]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_MIGRATION = f'''"""A column more, as a later version may need it."""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "{NEXT_HEAD}", "{HEAD}"
def upgrade() -> None:
    op.add_column("qrerank_keys", sa.Column("note", sa.String(128)))
'''


class Commands:
    """The pages' shell blocks by the name behind "```sh"; `unused` has those that nobody has run."""

    def __init__(self, folder: Path = ROOT / "docs" / "operations", pages: Iterable[str] = PAGES) -> None:
        """Read them."""
        texts = "\n".join((folder / f"{page}.md").read_text(encoding="utf-8") for page in pages)
        self._blocks = {name: textwrap.dedent(text) for _, name, text in _BLOCK.findall(texts)}
        self.unused = set(self._blocks)

    def text(self, name: str) -> str:
        """A block, which counts as run from now on."""
        self.unused.discard(name)
        return self._blocks[name]


@dataclass
class Server:
    """A server process."""

    port: int
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def wait_until_ready(self) -> None:
        """RuntimeError with the end of its log if it exits, or does not get ready."""
        try:
            trial.seconds_until_ready(self.port, time.monotonic(), lambda: self.process.poll() is None)
        except RuntimeError as error:
            raise RuntimeError(f"{error}: {self.log.read_text(encoding='utf-8', errors='replace')[-2000:]}") from error

    def exit_status(self) -> int:
        """Its exit status, once it has exited by itself; TimeoutExpired, and it is killed, if it does not."""
        try:
            return self.process.wait(_EXITS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it to end, unless it has; its exit status as above."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.exit_status()


@dataclass(frozen=True)
class Installation:
    """A folder with a version's `.venv`, and the environment in which its commands run."""

    folder: Path
    environment: Mapping[str, str]
    commands: Commands

    def with_settings(self, **settings: str | Path | int) -> Installation:
        """The same with these variables, too."""
        return replace(self, environment={**self.environment, **{name: str(value) for name, value in settings.items()}})

    def run(self, name: str) -> str:
        """What a block of the pages prints here; RuntimeError if a command of it fails."""
        return self._output(name, "/bin/sh", "-eu", "-c", self.commands.text(name))

    def qrerank(self, *words: str) -> Any:
        """What `qrerank … --json` prints here; RuntimeError if it fails."""
        return orjson.loads(self._output("qrerank", ".venv/bin/qrerank", *words, "--json"))

    def _output(self, name: str, *command: str) -> str:
        done = subprocess.run(  # noqa: S603 - our own pages
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=120
        )
        if done.returncode:
            raise RuntimeError(f"`{name}` exited with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    @contextmanager
    def server(self, command: str = SERVE, port: int | None = None, *, ready: bool = True) -> Iterator[Server]:
        """A server that a command of the pages starts, on a free port unless told; told to end with the block.

        ready: whether to wait until it is ready.
        """
        port = port or trial.free_port()
        log = self.folder / f"log-{port}"
        # A page's command may set variables before the program, which the shell's `exec` would not take.
        shell = ["/bin/sh", "-eu", "-c", f"exec env {command.removeprefix('env ')}"]
        with log.open("wb") as output:
            environment = {**self.environment, **dict.fromkeys(("PORT", "OLD_PORT", "NEW_PORT"), str(port))}
            process = subprocess.Popen(shell, cwd=self.folder, env=environment, stdout=output, stderr=output)  # noqa: S603
        server = Server(port, log, process)
        try:
            if ready:
                server.wait_until_ready()
            yield server
        finally:
            server.stop()


def install(folder: Path, commands: Commands, **settings: str | Path | int) -> Installation:
    """Make a folder with this version, the weight-free model, authentication on, and a data folder."""
    folder.mkdir(parents=True)
    (folder / ".venv").symlink_to(sys.prefix)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QRERANK_")}
    usual: dict[str, str | Path | int] = {
        "PYTHONPATH": ROOT,
        "QRERANK_DATA_DIR": folder / "data",
        "QRERANK_MODEL": "hash",
        "QRERANK_AUTH__ENABLED": "true",
        "QRERANK_AUTH__AUDIT_FILE": folder / "audit.log",
        "QRERANK_ENGINE__DRAIN_SECONDS": 2,
        # Several servers share the cores of one here: a slow answer is not a lost one.
        "QRERANK_ENGINE__DEADLINE_MS": 0,
    }
    return Installation(folder, kept, commands).with_settings(**usual | settings)


def install_next(old: Installation, folder: Path) -> Installation:
    """The version to come, this one with one migration more, as pip installs it; its environment is the old one's."""
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
    return replace(old, folder=folder).with_settings(PYTHONPATH=site)  # found before what is installed


def _substitute(file: Path, pattern: str, line: str) -> None:
    text, count = re.subn(pattern, line, file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if count != 1:
        raise RuntimeError(f"{file.name} no longer has one line like {pattern}; the rehearsal must learn its form")
    file.write_text(text, encoding="utf-8")


class Key(NamedTuple):
    """A key and its id."""

    id: str
    secret: str


class Admin:
    """Whoever administers keys: the first by the command line, the others at a server."""

    def __init__(self, installation: Installation) -> None:
        """Make the administrator's own key."""
        options = ("--name", "admin", "--role", "admin", "--tier", "unlimited")
        self.key = _key(installation.qrerank("keys", "create", *options))

    def create(self, server: Server, name: str, tier: str = "unlimited") -> Key:
        """Have a server make a key."""
        return _key(self._ask(server, "POST", "/v1/admin/keys", {"name": name, "tier": tier}))

    def revoke(self, server: Server, key: Key) -> None:
        """Have a server end a key."""
        self._ask(server, "DELETE", f"/v1/admin/keys/{key.id}")

    def _ask(self, server: Server, method: str, path: str, body: object = None) -> Any:
        status, answer = trial.ask(server.port, method, path, body, self.key.secret)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {answer}")
        return answer


def _key(made: Mapping[str, str]) -> Key:
    return Key(made["id"], made["key"])


def seconds_until(holds: Callable[[], object], patience_s: float) -> float:
    """How long it took until this was true; infinite if it was not within so many seconds."""
    start = time.monotonic()
    while not holds():
        if time.monotonic() > start + patience_s:
            return float("inf")
        time.sleep(0.05)
    return time.monotonic() - start
