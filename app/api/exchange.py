"""One HTTP exchange: the body is read within limits, the caller's quotas are charged, and a worker's result is sent.

Here alone requests meet quotas. Work stops when the client leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

import orjson
from fastapi import Request, Response
from starlette.requests import ClientDisconnect, HTTPConnection

from app.api.dependencies import dependencies
from app.api.dialects.body import memory_of
from app.api.middleware.request_record import record_of
from app.errors import InvalidRequest, MalformedBody, NotReady, ServiceError, TooLarge, TooManyRequests, TooSlow
from app.identity import Identity
from app.quotas.quotas import Cost, Quotas
from app.quotas.windows import Standing, Verdict
from app.service.request import ResolvedRequest
from app.telemetry.request_record import CLIENT_GONE
from retrieval.deadline import Cancelled, Deadline

T = TypeVar("T")
R = TypeVar("R", bound=ResolvedRequest[Any])

_DIGITS = 20  # of a number in an address, at most
_INLINE_BYTES = 2**17  # a body of 100 passages is parsed in 0.2 ms; a larger one in a thread, not to hold up the loop


async def parsed(request: Request, parse: Callable[[bytes], T], most_bytes: int | None = None) -> T:
    """What a request's body parses to. most_bytes: a smaller limit than the setting.

    TooLarge, TooSlow, what `parse` raises, or MalformedBody if it is compressed: a small body may hold gigabytes.
    """
    check_plain(request)
    limits = dependencies(request).settings.limits
    try:
        async with asyncio.timeout(limits.body_seconds):
            body = await _read(request, most_bytes or limits.body_bytes)
    except TimeoutError as error:
        raise TooSlow(f"the body was not there after {limits.body_seconds} seconds; send less, or faster") from error
    request.state.hold(memory_of(body))
    return await aside(body, parse)


def check_plain(request: Request) -> None:
    """MalformedBody if the body is compressed."""
    if request.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise MalformedBody("the body is compressed, and none is unpacked here; send it without Content-Encoding")


async def aside(body: bytes, parse: Callable[[bytes], T]) -> T:
    """Parse a body, in a thread if it is large."""
    return parse(body) if len(body) <= _INLINE_BYTES else await asyncio.to_thread(parse, body)


def check_parameters(request: Request, *known: str) -> None:
    """InvalidRequest for a parameter in the address that is not known or comes twice: a filter would not count."""
    given = [name for name, _ in request.query_params.multi_items()]
    if not {*given} <= {*known} or len({*given}) < len(given):
        names = ", ".join(f"`{name}`" for name in known)
        raise InvalidRequest(f"the address takes {names} after the ?, each once, and nothing else")


def whole_number(request: Request, name: str, default: int, least: int, most: int) -> int:
    """A number in the query of the address; InvalidRequest for one that is out of range, or none."""
    text = request.query_params.get(name, str(default))
    if text.isascii() and text.isdigit() and len(text) < _DIGITS and least <= int(text) <= most:
        return int(text)
    raise InvalidRequest(f"{name}: must be a whole number from {least} to {most}", (name,))


async def _read(request: Request, limit: int) -> bytes:
    body, declared = bytearray(), request.headers.get("content-length", "")
    if not (declared.isdecimal() and int(declared) > limit):
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                break
        else:
            return bytes(body)
    raise TooLarge(f"the body is larger than the {limit} bytes that are taken; send fewer or shorter documents")


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


async def paid(
    request: Request,
    parse: Callable[[bytes], T],
    cost: Callable[[T], Cost] = lambda _: Cost(),
    most_bytes: int | None = None,
) -> T:
    """What the body of a request that is no ranking parses to, once its caller's quotas paid for it; see `parsed`."""
    found = await counted(request, partial(parsed, request, parse, most_bytes))
    await pay(request, cost(found))
    return found


async def pay(connection: HTTPConnection, cost: Cost) -> None:
    """Charge a caller for what is no ranking; TooManyRequests or TooLarge if its quotas do not allow it."""
    quotas, identity = _counting(connection)
    if quotas is None:
        return
    try:
        quotas.check(identity, cost)
    except TooLarge:
        _settle(connection, await quotas.take(identity, Cost(requests=cost.requests)))
        raise
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


def as_json(body: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> Response:
    """A response of this JSON object."""
    return Response(orjson.dumps(body), status, media_type="application/json")


async def answer(request: Request, resolved: ResolvedRequest[Any], work: Callable[[], bytes]) -> Response:
    """Answer a request with the JSON that its work returns. Its deadline is cancelled when its client leaves."""
    async with cancelled_with(request, resolved.deadline):
        try:
            body = await dependencies(request).engine.run(work, resolved, record_of(request).watch)
        except Cancelled:
            return Response(status_code=CLIENT_GONE)
        return Response(body, media_type="application/json")


@asynccontextmanager
async def cancelled_with(request: Request, deadline: Deadline) -> AsyncIterator[None]:
    """Within the block, cancel the deadline as soon as the client of a request whose body was read disconnects."""
    watching = asyncio.create_task(_cancel_at_disconnect(request, deadline))
    try:
        yield
    finally:
        watching.cancel()


async def _cancel_at_disconnect(request: Request, deadline: Deadline) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    deadline.cancel()
