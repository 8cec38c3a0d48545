"""HTTP/1.1 as uvicorn speaks it on h11, with bounds that uvicorn does not have.

The size, the number and the time of a request's headers are bounded, and so is the time in which a client takes the
answer; what is no HTTP is refused as JSON. An upgrade that we do not speak (h2c, which Java's client offers) is ignored
as RFC 9110, section 7.8, lets a server do: the request is served as it is.
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

from app.errors import Problem
from app.request_id import HEADER
from app.settings import LimitSettings

_HEADERS = 200

Event = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]


class _BoundedConnection(h11.Connection):
    """The state of one connection, which refuses heads that are too large however they come."""

    def __init__(self, head_bytes: int) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=head_bytes)
        self._head_bytes = head_bytes
        self.too_large = False  # whether that is what was wrong

    def next_event(self) -> Event:
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            self.too_large = error.error_status_hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise
        if isinstance(event, h11.Request) and not self._is_bounded(event):  # it came at once, so h11 takes it
            self.too_large = True
            raise h11.RemoteProtocolError("the headers are too large")
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
    ) -> None:
        """As uvicorn makes it, with the limits."""
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self.conn: _BoundedConnection = _BoundedConnection(limits.head_bytes)
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Expect a request."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._stop_head_timer()
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
        """Give the client time to take what it is sent: until then it costs memory."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self.loop.call_later(self._limits.body_seconds, self._drop_unless_taken)

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
        if self.cycle is not None and not self.cycle.response_complete:  # a body that is no HTTP
            started = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if started:
                self.transport.abort()
                return
        request_id = uuid.uuid4().hex
        problem = Problem(status, "malformed-request", message, request_id).response()
        head = f"HTTP/1.1 {status} {status.phrase}\r\n{HEADER}: {request_id}\r\nconnection: close\r\n"
        for name in ("content-type", "content-length"):
            head += f"{name}: {problem.headers[name]}\r\n"
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

    def _drop_unless_taken(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()
