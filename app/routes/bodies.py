"""Reading a request's body, within limits."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Request

from app.errors import TooLarge
from app.wire.body import fields_of

_INLINE_BYTES = 2**16  # a larger body is parsed in a thread, since parsing holds up the loop for a millisecond or more
_DRAINED_BYTES = 2**26  # a client that sends so much more than the limit finds its connection closed


async def read_fields(request: Request) -> Any:
    """The body's JSON; TooLarge or MalformedBody."""
    body = await read_body(request, request.app.state.service.settings.limits.body_bytes)
    return fields_of(body) if is_small(body) else await asyncio.to_thread(fields_of, body)


def is_small(body: bytes) -> bool:
    """Whether the body may be parsed on the event loop."""
    return len(body) <= _INLINE_BYTES


async def read_body(request: Request, limit: int) -> bytes:
    """The request's body; TooLarge if it is over the limit, with none of it kept.

    What comes after it is read and dropped, up to a bound: most clients read no answer before they have sent all.
    """
    body = bytearray()
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit + _DRAINED_BYTES:
            break
        if size > limit:
            body.clear()
        else:
            body += chunk
    if size > limit:
        raise TooLarge(f"the body is larger than the {limit} bytes that are taken; send fewer or shorter documents")
    return bytes(body)
