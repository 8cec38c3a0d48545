"""Steady load on real servers: all requests differ, every response is verified, and every result is recorded."""

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
SERVED_BY = "x-served-by"  # the header in which the balancer names the server
_TIMEOUT_S = 30
_PAUSE_S = 0.1  # between a client's requests, so that the servers get the CPU
_FIRST_WAIT_S = 0.05  # before the first retry; doubled each time
_TEXTS = [" ".join(passage.text.split()[:14]) for passage in itertools.islice(demo_passages(), 50)]


class Failed(Exception):
    """No response, or a wrong one."""


@dataclass(frozen=True)
class Question:
    """A query about a case, and documents of which exactly one is about it."""

    query: str
    documents: Sequence[str]  # empty: the collection's are searched
    right: int  # the index of the relevant document


@dataclass(frozen=True)
class Kind:
    """A kind of request: its dialect and number of documents."""

    name: str
    path: str
    documents: int  # 0: search the collection
    field: str = "documents"

    def body(self, question: Question) -> dict[str, object]:
        """The request's fields."""
        source = {self.field: question.documents} if question.documents else {"collection": COLLECTION, "top_n": TOP_N}
        return {"query": question.query, **source}


COHERE, TEI, LARGE = Kind("Cohere", "/v2/rerank", 8), Kind("TEI", "/rerank", 8, "texts"), Kind("large", "/rerank", 60)
STREAM, SOCKET = Kind("stream", "/v1/rerank/stream", 24), Kind("WebSocket", "/v1/ws", 8)
SEARCH = Kind("search", "/rerank", 0)


def question(number: int, documents: int) -> Question:
    """The question with this number, ≥ 1. Its documents are unique; without documents it is about the collection."""
    if not documents:
        right = number % PASSAGES
        return Question(f"what is known of case {_case(0, right)}", (), right)
    right = number % documents
    cases = [_case(number, at) for at in range(documents)]
    texts = [f"{_TEXTS[(number + at) % len(_TEXTS)]} This is of case {case}." for at, case in enumerate(cases)]
    return Question(f"what is known of case {cases[right]}", texts, right)


def corpus() -> list[dict[str, str]]:
    """The collection's passages in the format of `qrerank index build`."""
    # Nothing but the case: the weight-free model ranks short passages high for many queries.
    return [{"_id": str(at), "text": f"This is of case {_case(0, at)}."} for at in range(PASSAGES)]


def _case(number: int, at: int) -> str:
    """A unique word, which the model and BM25 can both distinguish from others."""
    digest = hashlib.sha256(f"{number}, {at}".encode()).digest()
    return "".join(ascii_lowercase[byte % 26] for byte in digest[:8])


def judge(question: Question, answer: bytes) -> None:
    """Verify a response: every document once, in order of score, the relevant one first. Raises Failed."""
    try:
        items = items_of(answer)
        indexes = [item["index"] if question.documents else int(item["document"]["id"]) for item in items]
        scores = [item["score"] if "score" in item else item["relevance_score"] for item in items]
    except (KeyError, TypeError, ValueError) as error:
        raise Failed(f"{error!r} in {answer[:200]!r}") from error
    valid, count = set(range(len(question.documents) or PASSAGES)), len(question.documents) or TOP_N
    if len(indexes) != count or len(set(indexes) & valid) != count:
        raise Failed(f"expected {count} different documents, got {len(set(indexes) & valid)} in {len(indexes)} results")
    if scores != sorted(scores, reverse=True):
        raise Failed("the documents are not in order of score")
    if indexes[0] != question.right:
        raise Failed(f"document {indexes[0]} is first, but {question.right} contains the query's words")


def items_of(answer: bytes) -> list[dict[str, Any]]:
    """A response's items: TEI's list, Cohere's results, or a stream's last event. Raises ValueError or KeyError."""
    if answer.startswith(b"event: "):
        # The fields of the last event replace those of earlier ones.
        fields = dict(line.split(b": ", 1) for line in answer.splitlines() if b": " in line)
        if fields[b"event"] != b"final":
            raise ValueError("the stream's last event is not the final result")
        answer = fields[b"data"]
    body = orjson.loads(answer)
    items: list[dict[str, Any]] = body if isinstance(body, list) else body["results"]
    return items


class HttpClient:
    """An HTTP/1.1 client with a persistent connection."""

    def __init__(self, key: str) -> None:
        """key: the secret."""
        self._http = httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=_TIMEOUT_S, trust_env=False)

    def ask(self, url: str, kind: Kind, question: Question) -> str:
        """Send a question and verify the response; the server's name, if a balancer adds it. Raises Failed."""
        try:
            response = self._http.post(url + kind.path, json=kind.body(question))
        except httpx.TransportError as error:
            raise Failed(repr(error)) from error
        server = str(response.headers.get(SERVED_BY, ""))
        if not response.is_success:
            raise Failed(f"{response.status_code} {response.text[:200]!r} by {server}")
        judge(question, response.content)
        return server

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


class SocketClient:
    """A WebSocket client with a persistent connection."""

    def __init__(self, key: str) -> None:
        """key: the secret."""
        self._headers, self._stack = {"Authorization": f"Bearer {key}"}, ExitStack()
        self._socket: ClientConnection | None = None

    def ask(self, url: str, kind: Kind, question: Question) -> str:
        """As `HttpClient.ask`."""
        try:
            socket = self._open(url.replace("http://", "ws://") + kind.path)
            socket.send(orjson.dumps({"type": "rerank", "id": 1, **kind.body(question)}).decode())
            frame = b'{"type": "order"}'
            while orjson.loads(frame)["type"] == "order":
                frame = socket.recv(timeout=_TIMEOUT_S, decode=False)
        except ConnectionClosed as closed:
            if closed.rcvd is not None and closed.rcvd.code == CloseCode.SERVICE_RESTART:
                return self.ask(url, kind, question)  # the server has not accepted the request: not a failure
            raise Failed(repr(closed)) from closed
        except (OSError, WebSocketException) as error:
            self.close()
            raise Failed(repr(error)) from error
        judge(question, frame)
        return socket.response.headers.get(SERVED_BY, "") if socket.response else ""

    def _open(self, url: str) -> ClientConnection:
        """The connection, opened again if it was closed between requests, when no request is lost."""
        if self._socket is None or self._socket.state is not State.OPEN:
            self.close()
            opening = connect(url, additional_headers=self._headers, open_timeout=_TIMEOUT_S, max_size=None, proxy=None)
            self._socket = self._stack.enter_context(opening)
        return self._socket

    def close(self) -> None:
        """Close the connection."""
        self._stack.close()
        self._socket = None


@dataclass
class Record:
    """The result of one request. Times are seconds of the monotonic clock."""

    begun: float
    ended: float = 0.0  # the time of its response or last failure
    server: str = ""  # the name of the server that responded
    failures: list[str] = field(default_factory=list)  # the errors of failed attempts
    answered: bool = False


def send(
    client: HttpClient | SocketClient, kind: Kind, question: Question, urls: Sequence[str], attempts: int
) -> Record:
    """Try the servers in turn until one responds correctly or no attempts are left."""
    record = Record(time.monotonic())
    for attempt in range(attempts):
        if attempt:
            time.sleep(_FIRST_WAIT_S * 2 ** (attempt - 1))
        try:
            record.server = client.ask(urls[attempt % len(urls)], kind, question)
            record.answered = True
            break
        except Failed as failed:
            record.failures.append(str(failed))
    record.ended = time.monotonic()
    return record


class Load:
    """Clients that send requests within the block, each in its own thread."""

    def __init__(self, kinds: Sequence[Kind], key: str, *urls: str, attempts: int) -> None:
        """Prepare one client for each of the kinds.

        Args:
            kinds: The kinds of the clients' requests.
            key: The secret that all clients use.
            urls: The servers, used in turn.
            attempts: The number of attempts for a request, each on the next server.
        """
        self.records: list[Record] = []  # appending to a list is thread-safe
        self._kinds, self._key, self._urls, self._attempts = kinds, key, urls, attempts
        self._numbers, self._over = itertools.count(1), threading.Event()
        self._pool = ThreadPoolExecutor(len(kinds))

    def __enter__(self) -> Self:
        self._clients = [self._pool.submit(self._work, kind) for kind in self._kinds]
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def use(self, *urls: str) -> None:
        """Send requests to these servers from now on, as a reconfigured balancer would."""
        self._urls = urls

    def stop(self) -> None:
        """Start no more requests, and wait for those in flight. Raises the error of a client that crashed."""
        self._over.set()
        self._pool.shutdown()
        for client in self._clients:
            client.result()

    def lossless(self) -> bool:
        """Whether there were requests and all succeeded in the end."""
        return bool(self.records) and all(record.answered for record in self.records)

    def failed(self) -> list[Record]:
        """The requests whose first attempt failed."""
        return [record for record in self.records if record.failures]

    def __str__(self) -> str:
        failed, answered = self.failed(), sum(record.answered for record in self.records)
        retried = sum(record.answered for record in failed)
        reasons = "; ".join(dict.fromkeys(record.failures[0][:60] for record in failed))[:200]
        text = f"{len(self.records)} sent, {answered} answered, {retried} of them on retry"
        return f"{text} ({reasons})" if reasons else text

    def _work(self, kind: Kind) -> None:
        client = SocketClient(self._key) if kind is SOCKET else HttpClient(self._key)
        while not self._over.is_set():
            number, urls = next(self._numbers), self._urls
            first = number % len(urls)
            next_question = question(number, kind.documents)
            self.records.append(send(client, kind, next_question, urls[first:] + urls[:first], self._attempts))
            time.sleep(_PAUSE_S)
        client.close()


def longest_pause(records: Sequence[Record], start: float, end: float) -> float:
    """The longest time in seconds without a response between `start` and `end`."""
    answers = sorted(record.ended for record in records if record.answered and start <= record.ended < end)
    return max(after - before for before, after in itertools.pairwise([start, *answers, end]))
