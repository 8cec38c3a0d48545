"""The one seam where requests are watched from their beginning to their end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from time import perf_counter
from typing import Concatenate, ParamSpec, TypeVar, cast

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.engine.model_registry import Models
from app.telemetry.request_record import CLIENT_GONE, UNKNOWN, Observed, Watcher

T = TypeVar("T")
P = ParamSpec("P")


def observed(connection: HTTPConnection) -> Observed:
    """What is seen of the request over HTTP that is being served."""
    return cast("Observed", connection.state.observed)


def queued(seen: Observed, work: Callable[Concatenate[Models, P], T]) -> Callable[Concatenate[Models, P], T]:
    """The same work, which notes how long it waited from now on for a thread."""
    asked = perf_counter()

    def begun(models: Models, /, *rest: P.args, **named: P.kwargs) -> T:
        seen.watch.since("queue", asked)
        return work(models, *rest, **named)

    return begun


class ObserveMiddleware:
    """Shows every request over HTTP to the watchers; those on a WebSocket show themselves."""

    def __init__(self, app: ASGIApp, watchers: Sequence[Watcher]) -> None:
        """watchers: they may not fail."""
        self._app, self._watchers = app, watchers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        state = scope["state"]
        origin = (scope.get("client") or [None])[0]
        seen = state["observed"] = Observed(state["request_id"], scope.get("method", "WS"), origin=origin)

        async def send_and_see(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status, seen.route, seen.identity = message["status"], _route(scope), state.get("identity")
            await send(message)

        try:
            await self._app(scope, receive, send_and_see)
        except Exception:
            if seen.status == CLIENT_GONE:  # the answer to it begins further out
                seen.failed(HTTPStatus.INTERNAL_SERVER_ERROR, "internal")
            raise
        finally:
            seen.route = _route(scope)
            seen.identity = state.get("identity")
            if scope["type"] == "http" or seen.problem:  # or it was refused to begin to talk
                seen.end(self._watchers)


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", UNKNOWN)
