"""The one seam where requests are counted, and the headers that tell their callers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.engine.model_registry import Models
from app.errors import ServiceError, TooManyRequests
from app.identity import Identity
from app.quotas.quotas import Cost, Quotas
from app.quotas.windows import Standing, Verdict
from app.service.cost import check
from app.telemetry.request_record import Observed

T = TypeVar("T")
Read = Callable[[], Awaitable[T]]


async def paid(
    connection: HTTPConnection, seen: Observed, read: Read[T], cost: Callable[[T, Models], Cost]
) -> tuple[T, Cost]:
    """What was read of a request, once its caller's quotas paid for it, and what it costs.

    TooManyRequests if they cannot, and nothing is taken of either; TooLarge for what is too much at any time. Of a
    caller whose requests are used up nothing is read. A request that fails later was counted all the same.
    """
    quotas, identity = _counting(connection)
    models: Models | None = connection.app.state.engine.models
    if models is None:  # it is not ready, as the request will hear: nothing is done, nothing taken
        return await read(), Cost()

    async def checked() -> tuple[T, Cost]:
        asked = await read()
        wanted = cost(asked, models)
        check(wanted, connection.app.state.service.settings.limits)
        seen.units = wanted.units
        if quotas:
            quotas.check(identity, wanted)
        return asked, wanted

    if quotas is None:
        return await checked()

    if refusal := quotas.spent(identity):
        _settle(connection, refusal)
    asked, wanted = await counted(connection, checked)
    _settle(connection, await quotas.take(identity, wanted))
    return asked, wanted


async def counted(connection: HTTPConnection, read: Read[T]) -> T:
    """What was read of a request, which is counted if it could not be read, or its client left before its end."""
    quotas, identity = _counting(connection)
    if quotas is None:
        return await read()
    try:
        return await read()
    except (ServiceError, ClientDisconnect):
        _settle(connection, await quotas.take(identity, Cost()))
        raise


def _counting(connection: HTTPConnection) -> tuple[Quotas | None, Identity]:
    """What counts this caller's requests, None if nothing does."""
    quotas: Quotas = connection.app.state.quotas
    identity: Identity = connection.state.identity
    return quotas if quotas.bind(identity) else None, identity


def _settle(connection: HTTPConnection, verdict: Verdict) -> None:
    """Keep what the response tells: of the quota that refused, or of that of which the smallest part is left."""
    standing = min(verdict.standings, key=lambda standing: standing.left / standing.limit, default=None)
    connection.state.standing = standing
    if standing is not None and not verdict.taken:
        raise TooManyRequests(_message(standing), standing.retry_after_s)


def _message(standing: Standing) -> str:
    quota = f"this caller's {standing.limit} {standing.quota} per {standing.window}"
    left = f"{standing.left} of {quota} are left, too few for this request" if standing.left else f"{quota} are used up"
    return f"{left}; there are {standing.limit} again in {standing.retry_after_s} s"


class QuotaHeadersMiddleware:
    """Puts the headers onto every response to a request that was counted."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an ASGI application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def send_with_standing(message: Message) -> None:
            if message["type"] == "http.response.start" and (standing := state.get("standing")):
                MutableHeaders(scope=message).update(standing.headers())
            await send(message)

        await self._app(scope, receive, send_with_standing)
