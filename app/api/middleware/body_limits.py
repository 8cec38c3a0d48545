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

from app.errors import Overloaded, TooLarge
from app.quotas.shares import Shares, address_of, caller_of
from app.settings import LimitSettings

_MARGIN_BYTES = 2**26  # a client that sends so much more than the limit finds its connection closed


class BodyLimitsMiddleware:
    """Reads what is left of a body, and drops it, before the answer begins; up to a bound of bytes and of time.

    Bounds as well the memory that the bodies of all requests take together, from their first byte until they are
    answered. Whoever parses one has that counted before, by the function `hold` in the request's state.
    """

    def __init__(self, app: ASGIApp, limits: LimitSettings, bodies: Shares) -> None:
        """Wrap an ASGI application. bodies: bytes of memory."""
        self._app, self._limits, self._bodies = app, limits, bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(Headers(scope=scope), receive)
        held = HeldMemory(self._bodies, scope)
        scope.setdefault("state", {})["hold"] = held.take

        async def receive_and_hold() -> Message:
            message = await body.receive()
            held.take(len(message.get("body", b"")))
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
            held.give()


class HeldMemory:
    """What one request takes of the memory for bodies."""

    def __init__(self, bodies: Shares, scope: Scope) -> None:
        """Of the caller that the scope's state has by the time when something is taken."""
        self._bodies, self._scope = bodies, scope
        self._caller: str | None = None
        self._size = 0

    def take(self, size: int) -> None:
        """Take so many bytes more; Overloaded where too few are left, TooLarge where there never are so many."""
        if self._caller is None:
            identity = self._scope["state"].get("identity")
            self._caller = caller_of(identity, address_of(self._scope.get("client")))
        if self._size + size > self._bodies.of_one:
            raise TooLarge(
                f"the body takes more than the {self._bodies.of_one} bytes of memory that are there for it; send fewer "
                "or shorter documents, and fewer fields"
            )
        if not self._bodies.take(self._caller, size):
            raise Overloaded("the requests that are being served are too large together; try again shortly")
        self._size += size

    def give(self) -> None:
        """Give all of it back."""
        if self._caller is not None:
            self._bodies.give(self._caller, self._size)
        self._size = 0


class _Body:
    """A request's body on its way in."""

    def __init__(self, headers: Headers, receive: Receive) -> None:
        self.unread = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
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
