"""Clients that never stop asking, and one question at a time."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import orjson

from scripts.rehearsal.working import Working

THREADS = 4
_TIMEOUT_S = 30
_PAUSE_S = 0.02  # between a thread's requests: a hundred or two a second are enough, and leave the cores to the servers


@dataclass(frozen=True)
class Question:
    """A request for an order."""

    body: bytes
    key: str

    def ask(self, connection: http.client.HTTPConnection) -> tuple[int, bytes]:
        """Status and body of the answer."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        connection.request("POST", "/rerank", self.body, headers)
        response = connection.getresponse()
        return response.status, response.read()


def question(key: str, query: str, documents: Sequence[str] | None = None, collection: str | None = None) -> Question:
    """A question with documents, or to a collection. It has no deadline, which a busy machine would refuse to miss."""
    body = {"query": query, "documents": documents, "collection": collection, "top_n": 10, "deadline_ms": 0}
    return Question(orjson.dumps({name: value for name, value in body.items() if value is not None}), key)


def ask(port: int, asked: Question) -> tuple[int, bytes]:
    """Status and body, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        return asked.ask(connection)
    finally:
        connection.close()


def results(body: bytes) -> bytes:
    """The bytes of an answer's results: without its id and its times, which differ between any two answers."""
    _, start, rest = body.partition(b'"results":')
    told, end, _ = rest.partition(b',"meta":')
    if not (start and end):
        raise ValueError(f"no results in {body[:200]!r}")
    return told


@dataclass
class Counts:
    """What came of the requests."""

    sent: int = 0
    answered: int = 0
    retried: int = 0  # answered by the second server that was asked
    failed: list[str] = field(default_factory=list)  # why, by neither

    def __str__(self) -> str:
        retried = f" ({self.retried} of them on the second server)" if self.retried else ""
        failed = f", {len(self.failed)} failed: {self.failed[:3]}" if self.failed else ", 0 failed"
        return f"{self.sent} sent, {self.answered} answered{retried}{failed}"


class Clients(Working):
    """Threads that ask from entering the block to leaving it, each server in turn, and once more on the next one."""

    def __init__(self, questions: Sequence[Question], *ports: int) -> None:
        """ports: of the servers; they may be changed at any time by `use`."""
        super().__init__([partial(self._work, at) for at in range(THREADS)], _TIMEOUT_S)
        self.counts = Counts()
        self._questions, self._ports = questions, ports
        self._lock = threading.Lock()

    def use(self, *ports: int) -> None:
        """Send requests to these servers from now on, as a balancer is told to."""
        self._ports = ports

    def _work(self, first: int) -> None:
        connections: dict[int, http.client.HTTPConnection] = {}
        for turn in itertools.count(first):
            if self.over.is_set():
                break
            ports = self._ports
            asked = self._questions[turn % len(self._questions)]
            tried = [ports[(turn + more) % len(ports)] for more in range(min(2, len(ports)))]
            self._ask(asked, tried, connections)
            time.sleep(_PAUSE_S)
        for connection in connections.values():
            connection.close()

    def _ask(self, asked: Question, ports: Sequence[int], connections: dict[int, http.client.HTTPConnection]) -> None:
        """Ask one server after the other until one answers."""
        told = []
        for port in ports:
            connection = connections.setdefault(port, http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S))
            try:
                status, body = asked.ask(connection)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                told.append(repr(error))
                continue
            if status == http.HTTPStatus.OK:
                self._count(answered=True, retried=bool(told))
                return
            told.append(f"{status} {body[:200]!r}")
        self._count(told=told)

    def _count(self, *, answered: bool = False, retried: bool = False, told: Sequence[str] = ()) -> None:
        with self._lock:
            self.counts.sent += 1
            self.counts.answered += answered
            self.counts.retried += retried
            if not answered:
                self.counts.failed.append(" then ".join(told))
