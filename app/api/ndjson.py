"""NDJSON bodies: lines in batches of bounded size, which are read as fast as they are taken.

While a batch is processed nothing is read, so that the client's connection fills up and the client waits.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from fastapi import Request
from starlette.requests import ClientDisconnect

from app.api.dependencies import dependencies
from app.errors import TooLarge, TooSlow

BATCH_LINES = 1000
BATCH_BYTES = 2**20
_FLUSH_S = 5.0  # the longest time that lines wait for others


@dataclass(frozen=True)
class Batch:
    """Lines that came one after another."""

    first: int  # the number of its first line, from 1
    lines: Sequence[bytes | None]  # None: one that is too long
    is_last: bool = False


class LineBuffer:
    """Parts of a stream that become lines."""

    def __init__(self, most_bytes: int) -> None:
        """most_bytes: of one line. What is longer is dropped as it comes."""
        self._most = most_bytes
        self._lines = deque[bytes | None]()
        self._rest = bytearray()  # of a line that has not ended
        self._drops = False  # whether that line is too long
        self._bytes = 0  # of all lines
        self._taken = 0

    @property
    def size(self) -> int:
        """The bytes that it holds."""
        return self._bytes + len(self._rest)

    @property
    def is_full(self) -> bool:
        """Whether there are lines for a batch."""
        return len(self._lines) >= BATCH_LINES or self._bytes >= BATCH_BYTES

    def add(self, part: bytes) -> None:
        """Add a part of the stream."""
        first, *others = part.split(b"\n")
        self._extend(first)
        for other in others:
            self._end_line()
            self._extend(other)

    def end(self) -> None:
        """End the stream; its last line may have no line end."""
        if self._rest or self._drops:
            self._end_line()

    def take(self) -> Batch:
        """Take the next lines: as many as are there, up to a batch."""
        lines, size = list[bytes | None](), 0
        while self._lines and len(lines) < BATCH_LINES and size < BATCH_BYTES:
            line = self._lines.popleft()
            size += len(line or b"")
            lines.append(line)
        self._bytes -= size
        self._taken += len(lines)
        return Batch(self._taken - len(lines) + 1, lines)

    def _extend(self, part: bytes) -> None:
        if self._drops or len(self._rest) + len(part) > self._most:
            self._drops = True
            self._rest.clear()
        else:
            self._rest += part

    def _end_line(self) -> None:
        self._lines.append(None if self._drops else bytes(self._rest))
        self._bytes += len(self._rest)
        self._rest.clear()
        self._drops = False


async def batches(request: Request) -> AsyncGenerator[Batch]:
    """The lines of a request's body, up to 1000 or a megabyte at once, or what came in five seconds: perhaps nothing.

    Raises:
        TooLarge: The stream is longer than the setting.
        TooSlow: The client was silent for too long.
        ClientDisconnect: It left.
    """
    limits = dependencies(request).settings.limits
    too_large = TooLarge(
        f"the stream is larger than the {limits.upload_bytes} bytes that are taken; send the rest in another one"
    )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.upload_bytes:
        raise too_large
    buffer, received, given_at = LineBuffer(limits.body_bytes), 0, time.monotonic()
    async with aclosing(_parts(request, limits.body_seconds)) as parts:
        async for part in parts:
            received += len(part)
            if received > limits.upload_bytes:
                raise too_large
            buffer.add(part)
            while buffer.is_full or time.monotonic() > given_at + _FLUSH_S:
                yield buffer.take()
                request.state.release(keep=buffer.size)  # what was taken is done
                given_at = time.monotonic()
    buffer.end()
    while buffer.is_full:
        yield buffer.take()
        request.state.release(keep=buffer.size)
    last = buffer.take()
    yield Batch(last.first, last.lines, is_last=True)


async def _parts(request: Request, patience_s: float) -> AsyncGenerator[bytes]:
    """The parts of a body as they come; an empty one while nothing comes."""
    heard_at = time.monotonic()
    receiving = asyncio.ensure_future(request.receive())
    try:
        while True:
            await asyncio.wait([receiving], timeout=min(_FLUSH_S, patience_s))
            if not receiving.done():
                if time.monotonic() >= heard_at + patience_s:
                    raise TooSlow(f"nothing came for {patience_s} seconds; send faster, or in smaller streams")
                yield b""
                continue
            message = receiving.result()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            yield message.get("body", b"")
            heard_at = time.monotonic()
            if not message.get("more_body", False):
                return
            receiving = asyncio.ensure_future(request.receive())
    finally:
        receiving.cancel()
