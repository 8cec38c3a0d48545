"""Reading a request's body, within limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from fastapi import Request

from app.api.dependencies import dependencies
from app.api.dialects.body import memory_of
from app.errors import MalformedBody, TooLarge, TooSlow

T = TypeVar("T")

_INLINE_BYTES = 2**16  # a larger body is parsed in a thread, since parsing holds up the loop for a millisecond or more


async def parsed(request: Request, parse: Callable[[bytes], T], most_bytes: int | None = None) -> T:
    """What a request's body parses to. most_bytes: a smaller limit than the setting.

    TooLarge, TooSlow, what `parse` raises, or MalformedBody if it is compressed: a small body may hold gigabytes.
    """
    if request.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise MalformedBody("the body is compressed, and none is unpacked here; send it without Content-Encoding")
    limits = dependencies(request).settings.limits
    try:
        async with asyncio.timeout(limits.body_seconds):
            body = await _read(request, most_bytes or limits.body_bytes)
    except TimeoutError as error:
        raise TooSlow(f"the body was not there after {limits.body_seconds} seconds; send less, or faster") from error
    request.state.hold(memory_of(body))
    return await aside(body, parse)


async def aside(body: bytes, parse: Callable[[bytes], T]) -> T:
    """Parse a body, in a thread if it is large."""
    return parse(body) if len(body) <= _INLINE_BYTES else await asyncio.to_thread(parse, body)


async def _read(request: Request, limit: int) -> bytes:
    body = bytearray()
    declared = request.headers.get("content-length", "")
    too_large = declared.isdecimal() and int(declared) > limit
    if not too_large:
        async for chunk in request.stream():
            body += chunk
            if too_large := len(body) > limit:
                break
    if too_large:
        raise TooLarge(f"the body is larger than the {limit} bytes that are taken; send fewer or shorter documents")
    return bytes(body)
