"""One HTTP exchange: the body is read within limits, and a worker's result is sent for as long as the client waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, TypeVar

import orjson
from fastapi import Request, Response

from app.api.dependencies import dependencies
from app.api.dialects.body import memory_of
from app.api.middleware.request_record import record_of
from app.errors import MalformedBody, TooLarge, TooSlow
from app.service.request import ResolvedRequest
from app.telemetry.request_record import CLIENT_GONE
from retrieval.deadline import Cancelled, Deadline

T = TypeVar("T")

_INLINE_BYTES = 2**16  # a larger body is parsed in a thread, since parsing holds up the loop for a millisecond or more


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

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        deadline.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
