"""Clients that never stop asking: each on a connection that it keeps, each request once, and again if it failed."""

from __future__ import annotations

import http.client
import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Protocol, cast
from urllib.parse import urlsplit

import orjson
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.frames import CloseCode
from websockets.protocol import State
from websockets.sync.client import ClientConnection, connect

from scripts.rehearsal.working import Working
from scripts.rollout.questions import OVER_HTTP, SOCKET, Dialect, Question, Wrong, check, question
from scripts.rollout.records import Record

SERVED_BY = "x-served-by"
_TIMEOUT_S = 30
_PAUSE_S = 0.1  # between a client's requests: some sixty a second in all leave room on two cores for a third server
_ATTEMPTS = 4
_FIRST_WAIT_S = 0.05  # before a request is sent again; twice as long each time


class Moved(Exception):
    """The server says that it restarts, and has not taken the request (RFC 6455's close code 1012)."""


class Failed(Exception):
    """No answer, or none that is right."""


class Client(Protocol):
    """One that asks on a connection of its own."""

    kind: str
    documents: int

    def ask(self, asked: Question) -> str:
        """The name of the server that answered rightly; Failed or Moved."""

    def close(self) -> None:
        """Hang up."""


class HttpClient:
    """A client of one dialect over HTTP/1.1."""

    def __init__(self, url: str, key: str, dialect: Dialect) -> None:
        """url: of the balancer."""
        address = urlsplit(url)
        self.kind, self.documents = dialect.name, dialect.documents
        self._dialect, self._headers = dialect, {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=_TIMEOUT_S)

    def ask(self, asked: Question) -> str:
        """As in `Client`."""
        try:
            self._connection.request("POST", self._dialect.path, orjson.dumps(self._dialect.body(asked)), self._headers)
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Failed(repr(error)) from error
        if response.status != http.HTTPStatus.OK:
            raise Failed(f"{response.status} {body[:200]!r} by {response.headers.get(SERVED_BY)}")
        try:
            check(asked, self._dialect.rows(body))
        except (Wrong, KeyError, TypeError, orjson.JSONDecodeError) as error:
            raise Failed(f"{type(error).__name__}: {error}") from error
        return str(response.headers.get(SERVED_BY))

    def close(self) -> None:
        """As in `Client`."""
        self._connection.close()


class SocketClient:
    """A client of the WebSocket."""

    kind, documents = SOCKET.name, SOCKET.documents

    def __init__(self, url: str, key: str) -> None:
        """url: of the balancer."""
        self._url, self._headers = url.replace("http://", "ws://") + SOCKET.path, {"Authorization": f"Bearer {key}"}
        self._stack, self._socket = ExitStack(), cast("ClientConnection | None", None)
        self._server = ""

    def ask(self, asked: Question) -> str:
        """As in `Client`."""
        try:
            socket = self._open()
            socket.send(orjson.dumps({"type": "rerank", "id": 1, **SOCKET.body(asked)}).decode())
            told = self._ended(socket)
        except ConnectionClosed as closed:
            self.close()
            if closed.rcvd is not None and closed.rcvd.code == CloseCode.SERVICE_RESTART:
                raise Moved from closed
            raise Failed(repr(closed)) from closed
        except (OSError, WebSocketException) as error:
            self.close()
            raise Failed(repr(error)) from error
        try:
            check(asked, SOCKET.rows(told))
        except (Wrong, KeyError) as error:
            raise Failed(f"{type(error).__name__}: {error}: {told[:200]!r}") from error
        return self._server

    def _open(self) -> ClientConnection:
        """The connection, anew if it was closed while nothing was asked: no request is lost with that."""
        if self._socket is not None and self._socket.state is State.OPEN:
            return self._socket
        self.close()
        opening = connect(self._url, additional_headers=self._headers, open_timeout=_TIMEOUT_S, max_size=None)
        self._socket = self._stack.enter_context(opening)
        response = self._socket.response
        self._server = response.headers.get(SERVED_BY, "") if response else ""
        return self._socket

    @staticmethod
    def _ended(socket: ClientConnection) -> bytes:
        while True:
            frame = socket.recv(timeout=_TIMEOUT_S, decode=False)
            if orjson.loads(frame)["type"] != "order":
                return bytes(frame)

    def close(self) -> None:
        """As in `Client`."""
        self._stack.close()
        self._socket = None


def clients(url: str, key: str) -> list[Client]:
    """One of each dialect, and two on WebSockets."""
    return [*(HttpClient(url, key, dialect) for dialect in OVER_HTTP), SocketClient(url, key), SocketClient(url, key)]


class Load(Working):
    """Asks from entering the block to leaving it; each client in a thread."""

    def __init__(self, who: Sequence[Client]) -> None:
        """who: each is used by one thread alone."""
        super().__init__([partial(self._work, client) for client in who], _ATTEMPTS * _TIMEOUT_S)
        self.records: list[Record] = []
        self._numbers = itertools.count(1)

    def answered_by(self, server: str, within_s: float) -> bool:
        """Wait until this server answered a request."""
        end = time.monotonic() + within_s
        while not any(record.server == server for record in self.records[-1000:]):
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def _work(self, client: Client) -> None:
        while not self.over.is_set():
            asked = question(next(self._numbers), client.documents)
            record = Record(client.kind, time.monotonic())
            ask(client, asked, record)
            record.ended = time.monotonic()
            self.records.append(record)  # a list takes them from several threads
            time.sleep(_PAUSE_S)
        client.close()


def ask(client: Client, asked: Question, record: Record) -> None:
    """Ask, and again while there are attempts left; what comes of it goes to the record."""
    for wait in _waits():
        try:
            record.server = client.ask(asked)
        except Moved:
            record.moved += 1
        except Failed as failed:
            record.failures.append(str(failed))
            time.sleep(wait)
        else:
            record.answered = True
            return


def _waits() -> Iterator[float]:
    return (_FIRST_WAIT_S * 2**attempt for attempt in range(_ATTEMPTS))
