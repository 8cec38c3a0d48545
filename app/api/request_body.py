"""Reading a request's body, within limits."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Request

from app.api.dialects.body import check_lists, fields_of, memory_of
from app.errors import MalformedBody, TooLarge, TooSlow
from app.settings import LimitSettings

_INLINE_BYTES = 2**16  # a larger body is parsed in a thread, since parsing holds up the loop for a millisecond or more


async def read_fields(request: Request) -> Any:
    """The body's JSON; TooLarge, also for lists in it, or MalformedBody."""
    limits = request.app.state.service.settings.limits
    body = await read_body(request, limits)
    request.state.hold(memory_of(body))
    fields = fields_of(body) if is_small(body) else await asyncio.to_thread(fields_of, body)
    check_lists(fields, limits.documents)
    return fields


def is_small(body: bytes) -> bool:
    """Whether the body may be parsed on the event loop."""
    return len(body) <= _INLINE_BYTES


async def read_body(request: Request, limits: LimitSettings) -> bytes:
    """The request's body; TooLarge, TooSlow, or MalformedBody if it is compressed: a small one may hold gigabytes."""
    if request.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise MalformedBody("the body is compressed, and none is unpacked here; send it without Content-Encoding")
    try:
        async with asyncio.timeout(limits.body_seconds):
            return await _within(request, limits.body_bytes)
    except TimeoutError as error:
        raise TooSlow(f"the body was not there after {limits.body_seconds} seconds; send less, or faster") from error


async def _within(request: Request, limit: int) -> bytes:
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
