"""A client of Milvus that waits for no request longer than it may, and asks nothing during an outage.

pymilvus is imported when the first request is sent: it is in the extra `milvus`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from retrieval.circuit_breaker import CircuitBreaker
from retrieval.errors import IndexUnavailable, RetrievalError

_SCHEMES = {"milvus": "http", "milvus+tls": "https"}
_PORT = 19530
_RETRY_S = 1.0
_FAILURES = 3  # in a row that are an outage: one slow request is none
_NOT_FOUND = 100  # Milvus' code of a collection that is not there
_WRITING = 10  # times as long as a search may take: much is sent, and Milvus answers when it has stored it


class MilvusUrlError(RetrievalError):
    """A URL of Milvus that cannot be parsed."""


class MilvusNotFound(RetrievalError):
    """Milvus has no collection of this name."""


def parse_url(url: str) -> dict[str, str]:
    """Return pymilvus' arguments `uri`, `token` and `db_name`; MilvusUrlError, which quotes nothing of the URL."""
    try:
        parts = urlsplit(url)
        host, port, database = parts.hostname, parts.port or _PORT, unquote(parts.path.strip("/"))
    except ValueError:
        host = None
    if not host or parts.scheme not in _SCHEMES or parts.query or parts.fragment or "/" in database:
        raise MilvusUrlError(
            "the URL of Milvus cannot be parsed; write milvus://[user:password@]host[:port][/database], or "
            "milvus+tls:// for TLS, with special characters in the password percent-encoded; a token stands in the "
            "place of the user"
        )
    credentials = [unquote(each) for each in (parts.username, parts.password) if each]
    host = f"[{host}]" if ":" in host else host
    return {"uri": f"{_SCHEMES[parts.scheme]}://{host}:{port}", "token": ":".join(credentials), "db_name": database}


class Milvus:
    """One server, or cluster, of Milvus. Thread-safe; it connects on first use."""

    def __init__(self, url: str, timeout_s: float = 1.0, at_once: int = 16) -> None:
        """Connect to nothing yet.

        Args:
            url: See `parse_url`.
            timeout_s: How long a search may take; a write may take ten times as long.
            at_once: Requests in progress; one more is refused, so that no more threads wait while Milvus hangs.
        """
        self._settings, self._timeout_s = parse_url(url), timeout_s
        self.address = self._settings["uri"].partition("://")[2]
        self._client: Any = None
        self._connecting, self._room = threading.Lock(), threading.BoundedSemaphore(at_once)
        self._asked = ""  # the collection of the last failure, which the probe asks for: others may be served before it
        self.breaker = CircuitBreaker(
            f"Milvus at {self.address}",
            self._probe,
            _RETRY_S,
            "no collection in it is searched",
            failures=(IndexUnavailable,),
            threshold=_FAILURES,
        )

    def read(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Return what a method of pymilvus' `MilvusClient` returns.

        Raises:
            IndexUnavailable: Milvus does not answer, or answers that it cannot now.
            MilvusNotFound: It has no such collection.
        """
        return self._call(self._timeout_s, method, *arguments, **options)

    def write(self, method: str, *arguments: Any, **options: Any) -> Any:
        """The same, for a method that may take longer."""
        return self._call(_WRITING * self._timeout_s, method, *arguments, **options)

    def check(self) -> None:
        """Ask whether the server answers, unless there is an outage. Blocks; IndexUnavailable if it does not."""
        self.read("list_collections")

    def close(self) -> None:
        """Close the connection and stop probing."""
        self.breaker.close()
        self._exchange(None)

    def _call(self, timeout_s: float, method: str, *arguments: Any, **options: Any) -> Any:
        self._refuse_during_outage()
        if not self._room.acquire(blocking=False):
            raise IndexUnavailable("Milvus has too many requests to answer at the moment")
        try:
            answer = _send(self._connected(), timeout_s, method, *arguments, **options)
        except IndexUnavailable as error:
            self._asked = str(arguments[0]) if arguments else ""
            self.breaker.fail(error)
            if not self.breaker.available:
                self._exchange(None)  # ends the requests that still wait
            raise
        finally:
            self._room.release()
        self.breaker.succeed()
        return answer

    def _refuse_during_outage(self) -> None:
        if not self.breaker.available:
            raise IndexUnavailable("Milvus does not answer at the moment")

    def _connected(self) -> Any:
        """The client. Whoever waited for a connection that fails does not try in turn."""
        if self._client is None:
            with self._connecting:
                self._refuse_during_outage()
                if self._client is None:
                    self._client = self._connect()
        return self._client

    def _connect(self) -> Any:
        try:
            from pymilvus import MilvusClient
        except ImportError as error:
            raise RetrievalError(
                "collections in Milvus need the extra `milvus`: pip install 'quantum-rerank[milvus]'"
            ) from error
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs requests, with ids of documents
        # A connection of our own: a shared one would be closed under others when the probe replaces it.
        return _translated(MilvusClient, **self._settings, timeout=self._timeout_s, dedicated=True)

    def _probe(self) -> None:
        """Connect anew, since an old connection waits ever longer before it tries again, and ask for something."""
        client = self._connect()
        try:
            _send(client, self._timeout_s, "list_collections")
            if self._asked:
                _send(client, self._timeout_s, "query", self._asked, ids=[0], consistency_level="Eventually")
        except MilvusNotFound:
            pass  # it answers
        except IndexUnavailable:
            client.close()
            raise
        self._exchange(client)

    def _exchange(self, client: Any) -> None:
        with self._connecting:
            before, self._client = self._client, client
        if before is not None:
            before.close()


def _send(client: Any, timeout_s: float, method: str, *arguments: Any, **options: Any) -> Any:
    return _translated(getattr(client, method), *arguments, timeout=timeout_s, **options)


def _translated(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a function of pymilvus; its errors become ours, with codes only: texts may quote ids of documents."""
    from grpc import FutureTimeoutError, RpcError
    from pymilvus import MilvusException

    try:
        return function(*arguments, **options)
    except MilvusException as error:
        if error.code == _NOT_FOUND:
            raise MilvusNotFound("Milvus has no such collection") from None
        raise IndexUnavailable(f"it fails with code {error.code}") from None
    except FutureTimeoutError:
        raise IndexUnavailable("it cannot be connected to") from None
    except RpcError as error:
        code = error.code() if hasattr(error, "code") else type(error).__name__
        raise IndexUnavailable(f"no answer: {code}") from None
