"""The real application on a real socket, with an encoder that a test can block."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from app.main import create_app
from app.server import asgi as serving
from app.settings import Settings
from retrieval.encoder.hash_encoder import HashEncoder
from retrieval.encoder.protocol import Tokens
from tests.waiting import PATIENT_S, eventually


@dataclass(frozen=True)
class Live:
    """A running server."""

    port: int
    app: FastAPI
    server: uvicorn.Server

    @property
    def admitted(self) -> int:
        """The number of requests that are running or waiting."""
        return len(self.app.state.dependencies.engine._admission)

    def called_off(self) -> bool:
        """Whether there is a running request whose client has disconnected."""
        return is_called_off(self.app)

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self.server.server_state.connections)

    @property
    def unsent(self) -> int:
        """The number of bytes in write buffers."""
        connections = [connection for connection in self.server.server_state.connections if connection.transport]
        return sum(connection.transport.get_write_buffer_size() for connection in connections)

    def narrow(self) -> socket.socket:
        """A connection with small socket buffers."""
        self.server.servers[0].sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # inherited on accept
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def is_free(self) -> bool:
        """Wait until no request is running."""
        return eventually(lambda: self.admitted == 0)


def is_called_off(app: FastAPI) -> bool:
    """Whether an application has a running request whose client has disconnected."""
    return any(place.deadline.cancelled for place in list(app.state.dependencies.engine._admission._places))


@contextmanager
def live(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    before: Callable[[Sequence[Tokens]], object] = lambda _: None,
    **options: Any,
) -> Iterator[Live]:
    """Run a server within the block. before: called in the encoder before every pass, once the server is ready."""
    ready = threading.Event()

    class Held(HashEncoder):
        def forward(self, batch):
            if ready.is_set():
                before(batch)
            return super().forward(batch)

    monkeypatch.setattr("app.engine.loader.load_encoder", lambda *_, **__: Held())
    app = create_app(settings)
    # A client that a busy machine lets wait answers no ping in time.
    options = serving.options(settings) | {"ws_ping_interval": None} | options
    server = uvicorn.Server(uvicorn.Config(app, port=0, **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        eventually(lambda: app.state.dependencies.engine.state.phase != "loading" and server.started)
        ready.set()
        yield Live(server.servers[0].sockets[0].getsockname()[1], app, server)
    finally:
        server.should_exit = True
        thread.join(PATIENT_S)
        assert not thread.is_alive()
