"""Requests of one client in turn, or of many at once, each of which sends its next one when it has its answer.

The standard library's client takes a few tenths of a millisecond, so that what is measured is the server.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from threading import Lock
from time import perf_counter

import orjson

_PATIENCE_S = 600
_MOST = 2**24  # bytes of a first chunk


@dataclass(frozen=True)
class Request:
    """A POST of JSON; without a body, a GET."""

    path: str
    body: bytes | None = None


def post(path: str, fields: object) -> Request:
    """A POST of these fields."""
    return Request(path, orjson.dumps(fields))


@dataclass(frozen=True)
class Answer:
    """A response, and the milliseconds from the first byte sent until its first chunk and all of it were read."""

    status: int
    body: bytes
    ms: float
    first_ms: float = 0.0


class Connection(HTTPConnection):
    """One kept-alive connection to a local server; one request at a time."""

    def __init__(self, port: int) -> None:
        """Connect to 127.0.0.1."""
        super().__init__("127.0.0.1", port, timeout=_PATIENCE_S)
        self.connect()

    def ask(self, request: Request) -> Answer:
        """Send a request and read the whole response."""
        start = perf_counter()
        headers = {"content-type": "application/json"}
        self.request("GET" if request.body is None else "POST", request.path, request.body, headers)
        response = self.getresponse()
        chunk, first = response.read1(_MOST), perf_counter()
        body = chunk + response.read()
        return Answer(response.status, body, 1e3 * (perf_counter() - start), 1e3 * (first - start))


def in_turn(port: int, requests: Iterable[Request]) -> list[Answer]:
    """Send requests one after the other over one connection; RuntimeError for an answer other than 200."""
    answers = []
    with closing(Connection(port)) as connection:
        for request in requests:
            answers.append(answer := connection.ask(request))
            if answer.status != 200:
                raise RuntimeError(f"the server answered {answer.status}: {answer.body[:500].decode()}")
    return answers


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


def drive(port: int, supply: Iterator[Request], clients: int, seconds: float) -> Load:
    """Let `clients` draw requests from a supply for so many seconds; those under way are waited for."""
    answers, drawing, start = list[Answer](), Lock(), perf_counter()

    def client() -> None:
        with closing(Connection(port)) as connection:
            while perf_counter() < start + seconds:
                with drawing:  # a generator serves one thread at a time
                    request = next(supply, None)
                if request is None:
                    return
                answers.append(connection.ask(request))

    with ThreadPoolExecutor(clients) as threads:
        for done in [threads.submit(client) for _ in range(clients)]:
            done.result()
    good = [answer.ms for answer in answers if answer.status == 200]
    return Load(perf_counter() - start, good, len(answers) - len(good))
