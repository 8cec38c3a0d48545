"""What browsers are told about every answer, and which of their requests are refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import Problem

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}  # unless the route knows better
_READ_ONLY = {"GET", "HEAD", "OPTIONS"}


class HeadersMiddleware:
    """Adds the headers that tell browsers what not to do, and asks clients of a server that stops to connect again."""

    def __init__(self, app: ASGIApp, origins: Sequence[str], hsts_s: int, stops: Callable[[], bool]) -> None:
        """origins: of pages that may call. hsts_s: how long browsers insist on TLS. stops: whether it is about to."""
        self._app, self._stops = app, stops
        self._origins = frozenset(origins)
        self._more = {"Strict-Transport-Security": f"max-age={hsts_s}"} if hsts_s else {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in (ALWAYS | self._more).items():
                    headers.setdefault(name, value)
                if self._stops():
                    headers["Connection"] = "close"
            await send(message)

        app = _refuse if self._is_foreign(scope) else self._app
        await app(scope, receive, send_with_headers)

    def _is_foreign(self, scope: Scope) -> bool:
        """Whether a page of another site has its reader's browser change something here, or just work."""
        headers = Headers(scope=scope)
        return (
            scope["method"] not in _READ_ONLY
            and headers.get("sec-fetch-site") == "cross-site"
            and self._origins.isdisjoint({"*", headers.get("origin", "")})
        )


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    message = "a page of another site may not ask this; whoever runs the service can allow it: QRERANK_CORS__ORIGINS"
    state = scope["state"]
    problem = Problem(HTTPStatus.FORBIDDEN, "forbidden", message, state["request_id"])
    state["observed"].failed(problem.status, problem.kind)
    await problem.response()(scope, receive, send)
