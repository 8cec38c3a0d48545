"""Rate limiting: the one seam where requests are charged to their callers' quotas."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, HTTPConnection

from app.api.dependencies import dependencies
from app.errors import NotReady, ServiceError, TooManyRequests
from app.identity import Identity
from app.quotas.quotas import Cost, Quotas
from app.quotas.windows import Standing, Verdict
from app.service.request import ResolvedRequest

T = TypeVar("T")
R = TypeVar("R", bound=ResolvedRequest[Any])


async def charged(connection: HTTPConnection, read: Callable[[], Awaitable[R]]) -> R:
    """The request that is read, once its caller's quotas paid for it.

    TooManyRequests if they cannot, and nothing is taken of either; TooLarge for what is too much at any time. Of a
    caller whose requests are used up nothing is read. A request that fails later was charged all the same.
    """
    quotas, identity = _counting(connection)
    return await read() if quotas is None else await _charged(connection, read, quotas, identity)


async def _charged(connection: HTTPConnection, read: Callable[[], Awaitable[R]], quotas: Quotas, by: Identity) -> R:
    if refusal := quotas.spent(by):
        _settle(connection, refusal)

    async def within() -> R:
        resolved = await read()
        quotas.check(by, resolved.cost)
        return resolved

    resolved = await counted(connection, within)
    _settle(connection, await quotas.take(by, resolved.cost))
    return resolved


async def counted(connection: HTTPConnection, read: Callable[[], Awaitable[T]]) -> T:
    """What was read of a request, which is counted if it could not be read, or its client left before its end."""
    quotas, identity = _counting(connection)
    if quotas is None:
        return await read()
    try:
        return await read()
    except NotReady:  # nothing is done, nothing taken
        raise
    except (ServiceError, ClientDisconnect):
        _settle(connection, await quotas.take(identity, Cost()))
        raise


async def pay(connection: HTTPConnection, cost: Cost) -> None:
    """Charge a caller for what is no ranking; TooManyRequests or TooLarge if its quotas do not allow it."""
    quotas, identity = _counting(connection)
    if quotas is not None:
        quotas.check(identity, cost)
        _settle(connection, await quotas.take(identity, cost))


def _counting(connection: HTTPConnection) -> tuple[Quotas | None, Identity]:
    """What counts this caller's requests; None without authentication and for an unlimited tier."""
    deps, identity = dependencies(connection), connection.state.identity
    return deps.quotas if deps.auth and deps.quotas.bind(identity) else None, identity


def _settle(connection: HTTPConnection, verdict: Verdict) -> None:
    """Keep the headers that tell of the quota that refused, or of that of which the smallest part is left."""
    standing = min(verdict.standings, key=lambda standing: standing.left / standing.limit, default=None)
    if standing is None:
        return
    connection.state.quota_headers = standing.headers()
    if not verdict.taken:
        raise TooManyRequests(_message(standing), standing.retry_after_s)


def _message(standing: Standing) -> str:
    quota = f"this caller's {standing.limit} {standing.quota} per {standing.window}"
    left = f"{standing.left} of {quota} are left, too few for this request" if standing.left else f"{quota} are used up"
    return f"{left}; there are {standing.limit} again in {standing.retry_after_s} s"
