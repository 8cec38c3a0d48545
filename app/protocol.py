"""HTTP/1.1 as uvicorn speaks it, with bounds that uvicorn does not have.

The size, the number and the time of a request's headers are bounded, and so is the time in which a client takes the
answer; what is no HTTP is refused as JSON.
"""

from __future__ import annotations

import asyncio
import uuid
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from app.errors import Problem
from app.request_id import HEADER
from app.settings import LimitSettings

_HEADERS = 200


class BoundedProtocol(HttpToolsProtocol):
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
        self._in_head = True  # of the first request
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._refusal: tuple[HTTPStatus, str] | None = None  # the status and the message, where we refuse

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Expect a request."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take some bytes, of whatever."""
        if not self._in_head and (self.cycle is None or self.cycle.response_complete) and not self.pipeline:
            self._expect_head()  # of the next request: what came of the last one is answered
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > self._limits.head_bytes:
            self._refuse_head()
            self.send_400_response("")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        super().on_header(name, value)
        if len(self.headers) > _HEADERS:
            self._refuse_head()
            raise httptools.HttpParserError("too many headers")

    def on_headers_complete(self) -> None:
        """Begin the request, unless the head that came at once with its body is too large."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._limits.head_bytes:
            self._refuse_head()
            raise httptools.HttpParserError("large headers")
        self._head_is_there()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Give the client time to take what it is sent: until then it costs memory."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self.loop.call_later(self._limits.body_seconds, self._drop_unless_taken)

    def _drop_unless_taken(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Refuse what came, and hang up. msg: why, where it was not we who refused."""
        self._head_is_there()
        if self.transport.is_closing():
            return
        status, message = self._refusal or (HTTPStatus.BAD_REQUEST, msg)
        request_id = uuid.uuid4().hex
        problem = Problem(status, "malformed-request", message, request_id).response()
        head = f"HTTP/1.1 {status} {status.phrase}\r\n{HEADER}: {request_id}\r\nconnection: close\r\n"
        for name in ("content-type", "content-length"):
            head += f"{name}: {problem.headers[name]}\r\n"
        self.transport.write(head.encode() + b"\r\n" + bytes(problem.body))
        self.transport.close()

    def _expect_head(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._timer = self.loop.call_later(self._limits.head_seconds, self._is_late)

    def _head_is_there(self) -> None:
        self._in_head = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_late(self) -> None:
        seconds = self._limits.head_seconds
        self._refusal = (HTTPStatus.REQUEST_TIMEOUT, f"the headers were not there after {seconds} seconds")
        if self._head_bytes:
            self.send_400_response("")
        else:  # it never said a word
            self.transport.close()

    def _refuse_head(self) -> None:
        message = f"the headers are more than {self._limits.head_bytes} bytes or more than {_HEADERS}"
        self._refusal = (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, message)
