"""Requests as they were meant.

Paths as clients mistype them: doubled slashes, a slash at the end, a base URL that has `/v1` already. Only those that
rerank clients and probes call: for others proxies have rules, which a path of another form would pass. And HEAD, which
is GET without the body of the answer (RFC 9110, section 9.3.2).
"""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.dialects.detect import PATHS

_SLASHES = re.compile(r"/{2,}")
_DOUBLED = re.compile(r"^/v1(?=/v[12]/)")
_WORK = ("similarity", "batch-similarity", "embeddings")
_MENDED = {
    *PATHS,
    *(f"{version}/{name}" for name in _WORK for version in ("", "/v1")),
    *("/v1/rerank/stream", "/v1/ws", "/info", "/v1/cluster/auth", "/v1/models", "/health", "/health/ready"),
}
_MODELS = "/v1/models/"


def canonical(path: str) -> str:
    """The path that was meant; clients do not follow redirects reliably, so none is sent."""
    meant = _DOUBLED.sub("", _SLASHES.sub("/", path)).rstrip("/") or "/"
    return meant if meant in _MENDED or meant.startswith(_MODELS) else path


class CanonicalPathMiddleware:
    """Routes every request by its canonical path."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an ASGI application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] in {"http", "websocket"}:
            path = canonical(scope["path"])
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)


class HeadMiddleware:
    """Has every route that answers GET answer HEAD."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an ASGI application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"}, receive, send_without_body)
