"""Steady load on real servers: all requests differ, and every response is verified."""

from __future__ import annotations

import hashlib
import itertools
import re
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Self

import httpx
import orjson

RERANK, STREAM, SEARCH = "/v2/rerank", "/v1/rerank/stream", "/rerank"  # a search names no documents
COLLECTION, PASSAGES, DOCUMENTS = "rehearsed", 300, 10
# Nothing but the case: the weight-free model ranks short passages high for many queries.
_QUERY, _TEXT = "what is known of case {}", "This is of case {}."
SERVED_BY = "x-served-by"  # the header in which a balancer names the server
_FINAL = re.compile(r"^event: final\ndata: (.*)$", re.MULTILINE)  # of a stream
_TIMEOUT_S = 30
_PAUSE_S = 0.1  # between a client's requests, so that the servers get the CPU
_FIRST_WAIT_S = 0.05  # before the first retry; doubled each time


class Failed(Exception):
    """No response, or a wrong one."""


@dataclass(frozen=True)
class Question:
    """A request for the documents about a case, to one of the paths above. No two numbers share a document."""

    path: str
    number: int

    @property
    def right(self) -> int:
        """The index of the only document about the case; of a search, the passage's id."""
        return self.number % (PASSAGES if self.path == SEARCH else DOCUMENTS)

    @property
    def body(self) -> dict[str, object]:
        """The request's fields."""
        if self.path == SEARCH:
            return {"query": _QUERY.format(_case(0, self.right)), "collection": COLLECTION, "top_n": DOCUMENTS}
        cases = [_case(self.number, at) for at in range(DOCUMENTS)]
        return {"query": _QUERY.format(cases[self.right]), "documents": list(map(_TEXT.format, cases))}

    def judge(self, response: httpx.Response) -> None:
        """Verify a response: different documents, in order of score, the right one first. Raises Failed."""
        try:
            text = response.raise_for_status().text
            final = _FINAL.search(text)
            items = orjson.loads(final[1] if final else text)["results"]
            found = [int(item["document"]["id"]) if self.path == SEARCH else item["index"] for item in items]
            scores = [item["relevance_score"] for item in items]
        except (httpx.HTTPStatusError, KeyError, TypeError, ValueError) as error:
            raise Failed(f"{error!r} in {response.text[:200]!r}") from error
        if len(found) != DOCUMENTS or len({*found}) != DOCUMENTS or scores != sorted(scores, reverse=True):
            raise Failed(f"expected {DOCUMENTS} different documents in order of score, got {found} with {scores}")
        if found[0] != self.right:
            raise Failed(f"document {found[0]} is first, but {self.right} contains the query's words")


def corpus() -> list[dict[str, str]]:
    """The collection's passages in the format of `qrerank index build`."""
    return [{"_id": str(at), "text": _TEXT.format(_case(0, at))} for at in range(PASSAGES)]


def _case(number: int, at: int) -> str:
    """A unique word, which the model and BM25 can both distinguish from others."""
    digest = hashlib.sha256(f"{number}, {at}".encode()).digest()
    return "".join(ascii_lowercase[byte % 26] for byte in digest[:8])


class Load:
    """Clients on persistent connections that send requests within the block, each in its own thread."""

    def __init__(self, key: str, *urls: str, paths: Sequence[str] = (RERANK, SEARCH) * 4, attempts: int = 1) -> None:
        """Prepare one client for each of the paths, which uses the servers in turn, for each request so many times."""
        self.sent: list[list[str]] = []  # of each request, the errors of its failed attempts
        self.servers = Counter[str]()  # by the names that a balancer gives, the requests that they answered
        self.urls = urls  # may be replaced, as a balancer is reconfigured
        self._paths, self._key, self._attempts = paths, key, attempts
        self._numbers, self._over = itertools.count(1), threading.Event()
        self._pool = ThreadPoolExecutor(len(paths))

    def __enter__(self) -> Self:
        self._clients = [self._pool.submit(self._work, path) for path in self._paths]
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Start no more requests, and wait for those in flight. Raises the error of a client that crashed."""
        self._over.set()
        self._pool.shutdown()
        for client in self._clients:
            client.result()

    @property
    def failed(self) -> int:
        """The number of requests whose first attempt failed."""
        return sum(map(bool, self.sent))

    def lossless(self) -> bool:
        """Whether there were requests and all succeeded in the end."""
        return bool(self.sent) and all(len(errors) < self._attempts for errors in self.sent)

    def __str__(self) -> str:
        reasons = "; ".join({errors[0][:60]: None for errors in self.sent if errors})
        return f"{len(self.sent)} sent, {self.failed} failed at first{f' ({reasons[:200]})' if reasons else ''}"

    def _work(self, path: str) -> None:
        headers = {"Authorization": f"Bearer {self._key}"}
        with httpx.Client(headers=headers, timeout=_TIMEOUT_S, trust_env=False) as client:
            while not self._over.is_set():
                self.sent.append(self._send(client, Question(path, next(self._numbers))))
                time.sleep(_PAUSE_S)

    def _send(self, client: httpx.Client, question: Question) -> list[str]:
        """Try the servers in turn until one answers correctly or no attempts are left; the errors."""
        errors, urls = list[str](), self.urls
        for attempt in range(self._attempts):
            try:
                url = urls[(question.number + attempt) % len(urls)]
                response = client.post(url + question.path, json=question.body)
                question.judge(response)
            except (httpx.TransportError, Failed) as error:
                errors.append(repr(error))
                time.sleep(_FIRST_WAIT_S * 2**attempt)
            else:
                self.servers[response.headers.get(SERVED_BY, "")] += 1
                break
        return errors
