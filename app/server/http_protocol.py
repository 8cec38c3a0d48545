"""HTTP/1.1 as uvicorn speaks it on h11, with bounds that uvicorn does not have.

The size, the number and the time of a request's headers are bounded, the number of its chunks, and what waits until a
client takes its answers; so is the number of connections. What is no HTTP is refused as JSON. An upgrade that we do not
speak (h2c, which Java's client offers) is ignored as RFC 9110, section 7.8, lets a server do: the request is served as
it is.
"""

from __future__ import annotations

import asyncio
import uuid
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from app.api.problems import Problem
from app.quotas.shares import address_of
from app.server.connections import Connections, Outgoing
from app.settings import LimitSettings

_HEADERS = 200
_CHUNKS = 4096  # of a body, and one more for every so many bytes: each costs time, however small
_BYTES_PER_CHUNK = 256

Event = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]


class _BoundedConnection(h11.Connection):
    """The state of one connection, which refuses heads that are too large however they come."""

    def __init__(self, head_bytes: int) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=head_bytes)
        self._head_bytes = head_bytes
        self._chunks = self._bytes = 0  # of the body that comes
        self.too_large = False  # whether the head is what was wrong

    def next_event(self) -> Event:
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            self.too_large = error.error_status_hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise
        if isinstance(event, h11.Request):
            self._chunks = self._bytes = 0
            if not self._is_bounded(event):  # it came at once, so h11 takes it
                self.too_large = True
                raise h11.RemoteProtocolError("the headers are too large")
        elif isinstance(event, h11.Data):
            self._chunks += 1
            self._bytes += len(event.data)
            if self._chunks > _CHUNKS + self._bytes // _BYTES_PER_CHUNK:
                raise h11.RemoteProtocolError("the chunks are too small")
        return event

    def _is_bounded(self, request: h11.Request) -> bool:
        size = len(request.target) + sum(len(name) + len(value) + 4 for name, value in request.headers)
        return size <= self._head_bytes and len(request.headers) <= _HEADERS


class BoundedProtocol(H11Protocol):
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: LimitSettings,
        connections: Connections,
    ) -> None:
        """As uvicorn makes it, with the limits. connections: all of this server."""
        super().__init__(config, server_state, app_state, _loop)
        self._limits, self._all = limits, connections
        self._opened: str | None = None  # by which address
        self.conn: _BoundedConnection = _BoundedConnection(limits.head_bytes)
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Expect a request, unless there are too many connections."""
        super().connection_made(transport)
        self._outgoing = Outgoing(transport, self._all)
        address = address_of(self.client)
        if not self._all.open(address):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "there are too many connections; close some, or try again")
            return
        self._opened = address
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take some bytes, of whatever; the time of a head runs from its first byte until it is whole."""
        if self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
            data = data.lstrip(b"\r\n")  # of which some clients send more than they should (RFC 9112, section 2.2)
            if not data:
                return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_head_timer()
        elif self._head_timer is None:
            self._expect_head()

    def on_response_complete(self) -> None:
        """Watch what waits to be sent."""
        super().on_response_complete()
        self._outgoing.look()

    def pause_writing(self) -> None:
        """More waits to be sent than should."""
        super().pause_writing()
        self._outgoing.look()

    def resume_writing(self) -> None:
        """Most of it was sent."""
        super().resume_writing()
        self._outgoing.end()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over to the other protocol, which counts it."""
        self._leave()
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """Refuse what came, and hang up."""
        if self.conn.too_large:
            message = f"the headers are more than {self._limits.head_bytes} bytes or more than {_HEADERS}"
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, message)
        else:
            self._refuse(HTTPStatus.BAD_REQUEST, msg)

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self._stop_head_timer()
        if self.transport.is_closing():
            return
        kind = "overloaded" if status == HTTPStatus.SERVICE_UNAVAILABLE else "malformed-request"
        if self.cycle is not None and not self.cycle.response_complete:  # a body that is no HTTP
            started = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if started:
                self.transport.abort()
                return
        request_id = uuid.uuid4().hex
        retry_after_s = 1 if kind == "overloaded" else None
        problem = Problem(status, kind, message, request_id, retry_after_s).response()
        head = f"HTTP/1.1 {status} {status.phrase}\r\nconnection: close\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in problem.headers.items())
        self.transport.write(head.encode() + b"\r\n" + bytes(problem.body))
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: a client that offers what we do not speak is served all the same."""

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self._limits.head_seconds, self._is_late)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _is_late(self) -> None:
        if self.conn.trailing_data[0]:
            seconds = self._limits.head_seconds
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"the headers were not there after {seconds} seconds")
        else:  # it never said a word
            self.transport.close()

    def _leave(self) -> None:
        self._stop_head_timer()
        self._outgoing.end()
        if self._opened is not None:
            self._all.close(self._opened)
            self._opened = None
