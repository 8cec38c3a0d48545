"""The real application on a real socket, with an encoder that a test may hold up."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from app import serving
from app.main import create_app
from app.settings import Settings
from retrieval.encoder import Tokens
from retrieval.hash_encoder import HashEncoder


@dataclass(frozen=True)
class Live:
    """A server that runs."""

    port: int
    app: FastAPI
    server: uvicorn.Server

    @property
    def admitted(self) -> int:
        """Requests in work or waiting."""
        return self.app.state.engine.counts().admitted

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self.server.server_state.connections)

    @property
    def unsent(self) -> int:
        """Bytes that wait until clients take them."""
        connections = [each for each in self.server.server_state.connections if each.transport]
        return sum(each.transport.get_write_buffer_size() for each in connections)

    def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is true; an error if it does not come to that."""
        end = time.monotonic() + 30
        while not true():
            assert time.monotonic() < end, "it did not come true"
            time.sleep(0.01)

    def narrow(self) -> socket.socket:
        """A connection on whose way little fits."""
        self.server.servers[0].sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # its children have it
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def is_free(self) -> bool:
        """Whether soon no request is in work."""
        end = time.monotonic() + 20
        while self.admitted and time.monotonic() < end:
            time.sleep(0.01)
        return self.admitted == 0


@contextmanager
def live(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    before: Callable[[Sequence[Tokens]], object] = lambda _: None,
    **options: Any,
) -> Iterator[Live]:
    """A server. before: called in the encoder with every pass, once the server is ready."""
    ready = threading.Event()

    class Held(HashEncoder):
        def forward(self, batch):
            if ready.is_set():
                before(batch)
            return super().forward(batch)

    monkeypatch.setattr("app.loading.load_encoder", lambda *_, **__: Held())
    app = create_app(settings)
    options = serving.options(settings.limits) | options
    server = uvicorn.Server(uvicorn.Config(app, port=0, **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    while app.state.engine.state.phase == "loading" or not server.started:
        time.sleep(0.01)
    ready.set()
    try:
        yield Live(server.servers[0].sockets[0].getsockname()[1], app, server)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
