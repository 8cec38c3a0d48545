"""Steady load on real servers: no two requests are alike, each answer is judged, and each result is recorded."""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from string import ascii_lowercase
from typing import Any, Self

import httpx
import orjson
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.frames import CloseCode
from websockets.protocol import State
from websockets.sync.client import ClientConnection, connect

from retrieval.text.demo import demo_passages

COLLECTION, PASSAGES, TOP_N = "rehearsed", 300, 10
SERVED_BY = "x-served-by"  # in which the balancer names the server
_TIMEOUT_S = 30
_PAUSE_S = 0.1  # between a client's requests, which leaves the cores to the servers
_FIRST_WAIT_S = 0.05  # before a request is sent again; twice as long each time
_TEXTS = [" ".join(passage.text.split()[:14]) for passage in itertools.islice(demo_passages(), 50)]


class Failed(Exception):
    """No answer, or one that is not what was asked for."""


@dataclass(frozen=True)
class Question:
    """A query about a case, and documents of which one alone is about it."""

    query: str
    documents: Sequence[str]  # none: those of the collection
    right: int  # which one


@dataclass(frozen=True)
class Kind:
    """How a client asks: its dialect, and how many documents it sends."""

    name: str
    path: str
    documents: int  # 0: it searches the collection
    field: str = "documents"

    def body(self, asked: Question) -> dict[str, object]:
        """The request's fields."""
        where = {self.field: asked.documents} if asked.documents else {"collection": COLLECTION, "top_n": TOP_N}
        return {"query": asked.query, **where}


COHERE, TEI, LARGE = Kind("Cohere", "/v2/rerank", 8), Kind("TEI", "/rerank", 8, "texts"), Kind("large", "/rerank", 60)
STREAM, SOCKET = Kind("stream", "/v1/rerank/stream", 24), Kind("WebSocket", "/v1/ws", 8)
SEARCH = Kind("search", "/rerank", 0)


def question(number: int, documents: int) -> Question:
    """The question with this number, 1 or more. No other one has its documents; with none, the collection has them."""
    if not documents:
        right = number % PASSAGES
        return Question(f"what is known of case {_case(0, right)}", (), right)
    right = number % documents
    cases = [_case(number, at) for at in range(documents)]
    texts = [f"{_TEXTS[(number + at) % len(_TEXTS)]} This is of case {case}." for at, case in enumerate(cases)]
    return Question(f"what is known of case {cases[right]}", texts, right)


def corpus() -> list[dict[str, str]]:
    """The collection's passages, as `qrerank index build` reads them."""
    # Nothing but the case: the weight-free model takes a short passage for like many queries.
    return [{"_id": str(at), "text": f"This is of case {_case(0, at)}."} for at in range(PASSAGES)]


def _case(number: int, at: int) -> str:
    """Letters that look like no other case's: what the model and BM25 both tell apart."""
    digest = hashlib.sha256(f"{number}, {at}".encode()).digest()
    return "".join(ascii_lowercase[byte % 26] for byte in digest[:8])


def judge(asked: Question, answer: bytes) -> None:
    """Failed unless every document is there once, in order, and the right one is the first."""
    try:
        items = items_of(answer)
        places = [item["index"] if asked.documents else int(item["document"]["id"]) for item in items]
        scores = [item["score"] if "score" in item else item["relevance_score"] for item in items]
    except (KeyError, TypeError, ValueError) as error:
        raise Failed(f"{error!r} in {answer[:200]!r}") from error
    every, count = set(range(len(asked.documents) or PASSAGES)), len(asked.documents) or TOP_N
    if len(places) != count or len(set(places) & every) != count:
        raise Failed(f"{count} documents should come back: {len(places)} did, or not each once")
    if scores != sorted(scores, reverse=True):
        raise Failed("the documents are not in order")
    if places[0] != asked.right:
        raise Failed(f"document {places[0]} came first, and {asked.right} has the words of the query")


def items_of(answer: bytes) -> list[dict[str, Any]]:
    """An answer's documents: TEI's list, Cohere's results, or those of a stream's last event; ValueError, KeyError."""
    if answer.startswith(b"event: "):
        fields = dict(
            line.split(b": ", 1) for line in answer.splitlines() if b": " in line
        )  # those of the last event remain
        if fields[b"event"] != b"final":
            raise ValueError("the stream did not end with the answer")
        answer = fields[b"data"]
    found = orjson.loads(answer)
    items: list[dict[str, Any]] = found if isinstance(found, list) else found["results"]
    return items


class HttpClient:
    """A client over HTTP/1.1 on a connection that it keeps."""

    def __init__(self, key: str) -> None:
        """key: the secret."""
        self._http = httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=_TIMEOUT_S, trust_env=False)

    def ask(self, url: str, kind: Kind, asked: Question) -> str:
        """The name of the server that answered rightly, where a balancer gives it; Failed."""
        try:
            response = self._http.post(url + kind.path, json=kind.body(asked))
        except httpx.TransportError as error:
            raise Failed(repr(error)) from error
        server = str(response.headers.get(SERVED_BY, ""))
        if not response.is_success:
            raise Failed(f"{response.status_code} {response.text[:200]!r} by {server}")
        judge(asked, response.content)
        return server

    def close(self) -> None:
        """Hang up."""
        self._http.close()


class SocketClient:
    """A client of the WebSocket on a connection that it keeps."""

    def __init__(self, key: str) -> None:
        """key: the secret."""
        self._headers, self._stack = {"Authorization": f"Bearer {key}"}, ExitStack()
        self._socket: ClientConnection | None = None

    def ask(self, url: str, kind: Kind, asked: Question) -> str:
        """As `HttpClient.ask`."""
        try:
            socket = self._open(url.replace("http://", "ws://") + kind.path)
            socket.send(orjson.dumps({"type": "rerank", "id": 1, **kind.body(asked)}).decode())
            frame = b'{"type": "order"}'
            while orjson.loads(frame)["type"] == "order":
                frame = socket.recv(timeout=_TIMEOUT_S, decode=False)
        except ConnectionClosed as closed:
            if closed.rcvd is not None and closed.rcvd.code == CloseCode.SERVICE_RESTART:
                return self.ask(url, kind, asked)  # the server says that it has not taken the request: it is no failure
            raise Failed(repr(closed)) from closed
        except (OSError, WebSocketException) as error:
            self.close()
            raise Failed(repr(error)) from error
        judge(asked, frame)
        return socket.response.headers.get(SERVED_BY, "") if socket.response else ""

    def _open(self, url: str) -> ClientConnection:
        """The connection, anew if it was closed while nothing was asked: no request is lost with that."""
        if self._socket is None or self._socket.state is not State.OPEN:
            self.close()
            opening = connect(url, additional_headers=self._headers, open_timeout=_TIMEOUT_S, max_size=None, proxy=None)
            self._socket = self._stack.enter_context(opening)
        return self._socket

    def close(self) -> None:
        """Hang up."""
        self._stack.close()
        self._socket = None


@dataclass
class Record:
    """What came of one request. Times are of the monotonic clock, in seconds."""

    begun: float
    ended: float = 0.0  # when it was answered, or given up
    server: str = ""  # that answered
    failures: list[str] = field(default_factory=list)  # why an attempt was not answered rightly
    answered: bool = False


def send(client: HttpClient | SocketClient, kind: Kind, asked: Question, urls: Sequence[str], attempts: int) -> Record:
    """Ask each address in turn until one answers rightly or the attempts are used up."""
    record = Record(time.monotonic())
    for attempt in range(attempts):
        if attempt:
            time.sleep(_FIRST_WAIT_S * 2 ** (attempt - 1))
        try:
            record.server = client.ask(urls[attempt % len(urls)], kind, asked)
            record.answered = True
            break
        except Failed as failed:
            record.failures.append(str(failed))
    record.ended = time.monotonic()
    return record


class Load:
    """Clients that ask from entering the block to leaving it, each in a thread of its own."""

    def __init__(self, kinds: Sequence[Kind], key: str, *urls: str, attempts: int) -> None:
        """Prepare one client for each of the kinds.

        Args:
            kinds: of the clients.
            key: the secret of all.
            urls: of the servers, which take turns.
            attempts: how often in all a request is sent that fails, each time to the next server.
        """
        self.records: list[Record] = []  # a list takes them from several threads
        self._kinds, self._key, self._urls, self._attempts = kinds, key, urls, attempts
        self._numbers, self._over = itertools.count(1), threading.Event()
        self._pool = ThreadPoolExecutor(len(kinds))

    def __enter__(self) -> Self:
        self._clients = [self._pool.submit(self._work, kind) for kind in self._kinds]
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def use(self, *urls: str) -> None:
        """Send requests to these servers from now on, as a balancer is told to."""
        self._urls = urls

    def stop(self) -> None:
        """Begin nothing more, and wait for what is under way. The error of a client that broke is raised."""
        self._over.set()
        self._pool.shutdown()
        for client in self._clients:
            client.result()

    def lossless(self) -> bool:
        """Whether there were requests, and each was answered rightly in the end."""
        return bool(self.records) and all(record.answered for record in self.records)

    def failed(self) -> list[Record]:
        """The requests that were not answered rightly at once."""
        return [record for record in self.records if record.failures]

    def __str__(self) -> str:
        failed, answered = self.failed(), sum(record.answered for record in self.records)
        again = sum(record.answered for record in failed)
        reasons = "; ".join(dict.fromkeys(record.failures[0][:60] for record in failed))[:200]
        text = f"{len(self.records)} sent, {answered} answered, {again} of them when sent again"
        return f"{text} ({reasons})" if reasons else text

    def _work(self, kind: Kind) -> None:
        client = SocketClient(self._key) if kind is SOCKET else HttpClient(self._key)
        while not self._over.is_set():
            number, urls = next(self._numbers), self._urls
            first = number % len(urls)
            asked = question(number, kind.documents)
            self.records.append(send(client, kind, asked, urls[first:] + urls[:first], self._attempts))
            time.sleep(_PAUSE_S)
        client.close()


def longest_pause(records: Sequence[Record], start: float, end: float) -> float:
    """Seconds in a span of time in which nobody was answered, at the most."""
    answers = sorted(record.ended for record in records if record.answered and start <= record.ended < end)
    return max(after - before for before, after in itertools.pairwise([start, *answers, end]))
