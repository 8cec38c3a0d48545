"""Bodies on their way in: how much of them is held at once, and what becomes of those that nobody reads.

A request may be answered before its body was read, but most clients read no answer before they have sent all of it.
Such a client would find its connection reset, and never see what was wrong with its request.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import Overloaded
from app.settings import LimitSettings

_MARGIN_BYTES = 2**26  # a client that sends so much more than the limit finds its connection closed


class UnreadBodyMiddleware:
    """Reads what is left of a body, and drops it, before the answer begins; up to a bound of bytes and of time.

    Bounds as well what the bodies of all requests hold together, from their first byte until they are answered.
    """

    def __init__(self, app: ASGIApp, limits: LimitSettings) -> None:
        """Wrap an ASGI application."""
        self._app, self._limits = app, limits
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(Headers(scope=scope), receive)

        async def receive_and_hold() -> Message:
            message = await body.receive()
            size = len(message.get("body", b""))
            if self._held + size > self._limits.all_bodies_bytes:
                raise Overloaded("the requests that are being served are too large together; try again shortly")
            self._held += size
            body.held += size
            return message

        async def send_after_body(message: Message) -> None:
            if message["type"] == "http.response.start" and body.unread:
                if message["status"] != HTTPStatus.REQUEST_TIMEOUT:
                    await body.drain(self._limits.body_bytes + _MARGIN_BYTES, self._limits.body_seconds)
                if body.unread:
                    MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        try:
            await self._app(scope, receive_and_hold, send_after_body)
        finally:
            self._held -= body.held


class _Body:
    """A request's body on its way in."""

    def __init__(self, headers: Headers, receive: Receive) -> None:
        self.unread = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
        self.held = 0
        self._size = 0
        self._kept = "expect" in headers  # by its client, until it is asked for it
        self._receive = receive

    async def receive(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        self._kept = False
        if not message.get("more_body", False):  # or the client left
            self.unread = False
        return message

    async def drain(self, most: int, seconds: float) -> None:
        """Read what comes yet, up to so many bytes in all, for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.unread and not self._kept and self._size <= most:
                    await self.receive()
