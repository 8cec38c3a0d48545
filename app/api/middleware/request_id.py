"""An id for every request and WebSocket: the client's if it is a sane one, else a new one; also in the response.

It is bound to the context of what serves the request, and of the tasks and threads that this begins, for the logs.
"""

from __future__ import annotations

import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from app.api.problems import HEADER

_ANSWERS = {"http.response.start", "websocket.accept", "websocket.http.response.start"}
_SANE = re.compile(r"[\w.:+/=-]{1,128}", re.ASCII)


def bind(request_id: str) -> None:
    """Have what is logged from now on in this context be of this request."""
    bind_contextvars(request_id=request_id)


class RequestIdMiddleware:
    """Puts `request_id` into the request's state, and binds it."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an ASGI application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _SANE.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        bind(request_id)  # and leave it: the server has something to say when this ends with an error

        async def send_with_id(message: Message) -> None:
            if message["type"] in _ANSWERS:
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)
