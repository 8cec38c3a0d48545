"""A bare HTTP/1.1 client: it costs tens of microseconds a request, so that what is measured is the server.

One client asks in turn, or many at once, each of which sends its next request when it has its answer.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
BUFFER_BYTES = 2**24  # so that reading a large answer does not stop and start


@dataclass(frozen=True)
class Answer:
    """A response, and the milliseconds from the first byte sent to the last byte read."""

    status: int
    body: bytes
    ms: float


def get(path: str) -> bytes:
    """A GET as it goes over the wire."""
    return f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode()


def post(path: str, body: bytes) -> bytes:
    """A POST of JSON as it goes over the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    )
    return head.encode() + b"\r\n" + body


class Connection:
    """One kept-alive connection to a local server; one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take over an open stream."""
        self._reader, self._writer = reader, writer

    @staticmethod
    async def open(port: int) -> Connection:
        """Connect to 127.0.0.1."""
        return Connection(*await asyncio.open_connection("127.0.0.1", port, limit=BUFFER_BYTES))

    async def ask(self, request: bytes) -> Answer:
        """Send a request and read the whole response, which must say its length."""
        start = perf_counter()
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if length is None:
            raise ValueError(f"the response has no content-length: {head!r}")
        body = await self._reader.readexactly(int(length[1]))
        return Answer(int(head[9:12]), body, 1000 * (perf_counter() - start))

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def first_chunk_ms(port: int, request: bytes) -> float:
    """Milliseconds until the first chunk of a streamed answer was read; the rest is read, too, and not counted."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=BUFFER_BYTES)
    start = perf_counter()
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"the server answered {head.decode(errors='replace')}")
    ms, first = 0.0, True
    while size := int(await reader.readuntil(b"\r\n"), 16):
        await reader.readexactly(size + 2)
        if first:
            ms, first = 1000 * (perf_counter() - start), False
    writer.close()
    return ms


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on uvloop, as the server does."""
    return uvloop.run(main)


def in_turn(port: int, requests: Iterable[bytes]) -> list[Answer]:
    """Send requests one after the other over one connection; RuntimeError for an answer other than 200."""

    async def all_of_them() -> list[Answer]:
        connection = await Connection.open(port)
        answers = []
        for request in requests:
            answer = await connection.ask(request)
            if answer.status != 200:
                raise RuntimeError(f"the server answered {answer.status}: {answer.body[:500].decode()}")
            answers.append(answer)
        connection.close()
        return answers

    return run(all_of_them())


@dataclass(frozen=True)
class Load:
    """What many clients at once got."""

    seconds: float
    ms: Sequence[float]  # of each answered request
    errors: int  # answers other than 200

    @property
    def per_second(self) -> float:
        """Requests answered a second."""
        return len(self.ms) / self.seconds


def drive(port: int, supply: Iterator[bytes], clients: int, seconds: float) -> Load:
    """Let `clients` draw requests from a supply for so many seconds; those under way are waited for."""

    async def client(connection: Connection, end: float, answers: list[Answer]) -> None:
        while perf_counter() < end and (request := next(supply, None)) is not None:
            answers.append(await connection.ask(request))
        connection.close()

    async def all_of_them() -> Load:
        answers: list[Answer] = []
        connections = [await Connection.open(port) for _ in range(clients)]
        start = perf_counter()
        await asyncio.gather(*(client(connection, start + seconds, answers) for connection in connections))
        good = [answer.ms for answer in answers if answer.status == 200]
        return Load(perf_counter() - start, good, len(answers) - len(good))

    return run(all_of_them())
