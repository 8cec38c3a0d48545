"""Limits for request bodies: the memory of all bodies together, and draining of unread bodies.

A request may be answered before its body was read, but most clients read no response before they have sent the whole
body. If the connection were reset, such a client would never see the error.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.dialects.detect import home_of
from app.api.middleware.root_path import path_of
from app.api.middleware.security_headers import ALWAYS
from app.api.problems import problem_of
from app.errors import NotReady, Overloaded, TooLarge
from app.quotas.fair_share import Shares, address_of, caller_of
from app.settings import LimitSettings

_TOO_LARGE = (
    "the body needs more than the {} bytes of memory that one caller may use; send fewer or shorter documents, and "
    "fewer fields"
)
_STOPS = "the service stops, and has waited long enough for this request; send it again"
_MARGIN_BYTES = 2**26  # a client that exceeds the body limit by more than this is disconnected


class BodyLimitsMiddleware:
    """Drains an unread body before the response starts, up to a limit of bytes and of time.

    Also limits the memory of all requests' bodies together, from the first byte until the response. Code that parses a
    body reserves the memory for that first, with the function `hold` in the request's state. Code that is done with a
    part of a stream gives its memory back with `release`.
    """

    def __init__(self, app: ASGIApp, limits: LimitSettings, bodies: Shares) -> None:
        """Wrap an ASGI application. bodies: shares of the memory for bodies, in bytes."""
        self._app, self._limits, self._bodies = app, limits, bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, has_started = _Body(self._bodies, scope, receive), False
        scope.setdefault("state", {}).update(hold=body.take, release=body.give)

        async def send_after_body(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start" and body.is_incomplete:
                await self._drain(body, message)
            has_started = True
            await send(message)

        try:
            await self._app(scope, body.receive, send_after_body)
        except asyncio.CancelledError:  # the server stops, and would send a 500
            if has_started:
                raise
            await _stopped(scope)(scope, receive, send)
        finally:
            body.give()

    async def _drain(self, body: _Body, message: Message) -> None:
        """Drain the body before this response starts; if it does not end, the connection is closed."""
        if message["status"] != HTTPStatus.REQUEST_TIMEOUT:
            await body.drain(max(self._limits.body_bytes, body.received) + _MARGIN_BYTES, self._limits.body_seconds)
        if body.is_incomplete:
            MutableHeaders(scope=message)["Connection"] = "close"


def _stopped(scope: Scope) -> Response:
    """The response to a request that was not done when the server had to stop."""
    problem = problem_of(NotReady(_STOPS), scope["state"].get("request_id", ""), scope.get("root_path", ""))
    assert problem is not None  # noqa: S101 - of every error of the service
    response = problem.response(media_type=home_of(path_of(scope)).problem_type)
    response.headers.update({**ALWAYS, "Connection": "close"})  # it passes no other middleware
    return response


@dataclass
class HeldMemory:
    """The memory for bodies that one request has reserved."""

    bodies: Shares
    scope: Scope  # its state gives the caller when memory is first reserved
    caller: str | None = None
    size: int = 0

    def take(self, size: int) -> None:
        """Reserve `size` more bytes; Overloaded if too few are free, TooLarge if one caller may never have so many."""
        if self.caller is None:
            identity = self.scope["state"].get("identity")
            self.caller = caller_of(identity, address_of(self.scope.get("client")))
        if self.size + size > self.bodies.of_one:
            raise TooLarge(_TOO_LARGE.format(self.bodies.of_one))
        if not self.bodies.take(self.caller, size):
            raise Overloaded("the requests in progress are too large together; try again shortly")
        self.size += size

    def give(self, keep: int = 0) -> None:
        """Release all of it, or what exceeds `keep` bytes."""
        if self.caller is not None and self.size > keep:
            self.bodies.give(self.caller, self.size - keep)
            self.size = keep


class _Body(HeldMemory):
    """Tracks how much of a request's body was received, and holds the memory of what was read."""

    def __init__(self, bodies: Shares, scope: Scope, receive: Receive) -> None:
        super().__init__(bodies, scope)
        headers = Headers(scope=scope)
        self.is_incomplete = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
        self.received = 0  # bytes
        self._awaits_continue = "expect" in headers  # the client sends the body only after 100 Continue
        self._receive = receive

    async def receive(self) -> Message:
        message = await self._next()
        self.take(len(message.get("body", b"")))
        return message

    async def _next(self) -> Message:
        message = await self._receive()
        self.received += len(message.get("body", b""))
        self._awaits_continue = False
        if not message.get("more_body", False):  # the last part, or a disconnect
            self.is_incomplete = False
        return message

    async def drain(self, max_bytes: int, seconds: float) -> None:
        """Read and drop the rest, until `max_bytes` in all were received or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.is_incomplete and not self._awaits_continue and self.received <= max_bytes:
                    await self._next()
