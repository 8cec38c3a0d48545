"""uvicorn's HTTP/1.1 protocol on h11, with limits that uvicorn does not have.

The limits: size and number of a request's headers and the time to receive them, number of its chunks, unsent response
bytes, and number of connections. Input that is not HTTP gets an error in JSON. An upgrade to an unsupported protocol
(such as h2c, which Java's client offers), or to WebSockets where the request is no handshake, is ignored, as RFC 9110,
section 7.8, allows: the request is served over HTTP/1.1.
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
from app.quotas.fair_share import address_of
from app.server.connections import Connections, WriteBuffer
from app.settings import LimitSettings

_HEADERS = 200  # per request
_CHUNKS = 4096  # per body, plus one per _BYTES_PER_CHUNK bytes: each chunk costs time, however small
_BYTES_PER_CHUNK = 16  # less than a line of an upload: some clients send each line as a chunk

Event = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]


class _BoundedConnection(h11.Connection):
    """The h11 state of one connection, which refuses headers that are too large, whole or in pieces."""

    def __init__(self, head_bytes: int) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=head_bytes)
        self._head_bytes = head_bytes
        self._chunks = self._bytes = 0  # of the current body
        self.reason = ""  # of the last error
        self.too_large = False  # whether the last error was the headers' size or number

    def next_event(self) -> Event:
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            self.too_large = error.error_status_hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self.reason = (
                "the request is not valid HTTP: " + str(error).partition(": bytearray")[0]
            )  # without its bytes
            raise
        if isinstance(event, h11.Request):
            self._chunks = self._bytes = 0
            names = {name for name, _ in event.headers}
            if {b"transfer-encoding", b"content-length"} <= names:  # servers disagree on where such a request ends
                raise self._error("the request has both Content-Length and Transfer-Encoding; send one of them")
            if not self._is_bounded(event):  # h11 limits incomplete headers only
                self.too_large = True
                raise h11.RemoteProtocolError("the headers are too large")
        elif isinstance(event, h11.Data):
            self._chunks += 1
            self._bytes += len(event.data)
            if self._chunks > _CHUNKS + self._bytes // _BYTES_PER_CHUNK:
                raise self._error("the chunks of the body are too small; send larger ones")
        return event

    def _error(self, reason: str) -> h11.RemoteProtocolError:
        self.reason = reason
        return h11.RemoteProtocolError(reason)

    def _is_bounded(self, request: h11.Request) -> bool:
        size = len(request.target) + sum(len(name) + len(value) + 4 for name, value in request.headers)
        return size <= self._head_bytes and len(request.headers) <= _HEADERS


class BoundedProtocol(H11Protocol):
    """One HTTP connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: LimitSettings,
        connections: Connections,
        root_path: str = "",
    ) -> None:
        """Take uvicorn's arguments and ours.

        Args:
            config: uvicorn's.
            server_state: uvicorn's.
            app_state: uvicorn's.
            limits: Of headers, chunks and unsent bytes.
            connections: All of this server.
            root_path: Below which a proxy serves the service.
        """
        super().__init__(config, server_state, app_state, _loop)
        self._limits, self._connections, self._root_path = limits, connections, root_path
        self._counted_address: str | None = None  # None while the connection is not counted
        self.conn: _BoundedConnection = _BoundedConnection(limits.head_bytes)
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Start the time limit of the headers, or refuse the connection if there are too many."""
        super().connection_made(transport)
        self._write_buffer = WriteBuffer(transport, self._connections)
        address = address_of(self.client)
        if not self._connections.open(address):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "there are too many connections; close some, or try again")
            return
        self._counted_address = address
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers and stop counting the connection."""
        self._release()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Process received bytes; the time limit of the headers runs from their first byte to their last."""
        if self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
            data = data.lstrip(b"\r\n")  # extra line ends before a request are ignored (RFC 9112, section 2.2)
            if not data:
                return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_head_timer()
        elif self._head_timer is None:
            self._start_head_timer()

    def on_response_complete(self) -> None:
        """Start the time limit of the unsent bytes."""
        super().on_response_complete()
        self._write_buffer.check()

    def pause_writing(self) -> None:
        """The transport's write buffer is above its high-water mark."""
        super().pause_writing()
        self._write_buffer.check()

    def resume_writing(self) -> None:
        """The transport's write buffer is below its low-water mark."""
        super().resume_writing()
        self._write_buffer.stop()

    def _should_upgrade(self) -> bool:
        """Whether the request is a WebSocket's handshake; other requests that name WebSockets are served over HTTP.

        Some proxies put `Upgrade: websocket` on all requests. The WebSocket protocol would wait without end for a body.
        """
        headers = dict(self.headers)
        has_body = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
        is_handshake = self.scope["method"] == "GET" and b"sec-websocket-key" in headers and not has_body
        return is_handshake and super()._should_upgrade()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over to the WebSocket protocol, which counts it again."""
        self._release()
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """Send the error for invalid input, and close the connection."""
        if self.conn.too_large:
            message = f"the headers are more than {self._limits.head_bytes} bytes or more than {_HEADERS}"
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, message)
        else:
            self._refuse(HTTPStatus.BAD_REQUEST, self.conn.reason or msg)

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self._stop_head_timer()
        if self.transport.is_closing():
            return
        kind = "overloaded" if status == HTTPStatus.SERVICE_UNAVAILABLE else "malformed-request"
        if self.cycle is not None and not self.cycle.response_complete:  # the request's body is not valid HTTP
            started = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if started:
                self.transport.abort()
                return
        request_id = uuid.uuid4().hex
        retry_after_s = 1 if kind == "overloaded" else None
        problem = Problem(status, kind, message, request_id, retry_after_s, root_path=self._root_path).response()
        head = f"HTTP/1.1 {status} {status.phrase}\r\nconnection: close\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in problem.headers.items())
        self.transport.write(head.encode() + b"\r\n" + bytes(problem.body))
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Log no warning: a client that offers an unsupported protocol is served over HTTP/1.1."""

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self._limits.head_seconds, self._on_head_timeout)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_head_timeout(self) -> None:
        if self.conn.trailing_data[0]:
            seconds = self._limits.head_seconds
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"the headers did not arrive within {seconds} seconds")
        else:  # no byte was received
            self.transport.close()

    def _release(self) -> None:
        self._stop_head_timer()
        self._write_buffer.stop()
        if self._counted_address is not None:
            self._connections.close(self._counted_address)
            self._counted_address = None
