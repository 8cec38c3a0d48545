"""Asks an embeddings server over HTTP: pooled connections to one address, time limits, and retries with backoff."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import urllib3
from numpy.typing import NDArray
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, stop_before_delay
from tenacity.wait import wait_exponential, wait_random
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InvalidHeader,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util import Retry, Timeout, parse_url

from retrieval.encoder.embeddings_api import Busy, Format, Unusable, check_status, request_body, vectors
from retrieval.errors import EncoderUnavailable
from retrieval.forks import begin

_TRIES = 4
_BACKOFF = wait_exponential(multiplier=0.1, max=5) + wait_random(0, 0.1)  # 100, 200, 400 ms and a little
_CONNECT_S = 5.0
_TEXT_BYTES = 2**18  # of an answer, for each text: 8192 numbers of 32 characters
_HEADERS = Retry()  # reads Retry-After


@dataclass(frozen=True)
class Endpoint:
    """An embeddings server and how it is asked."""

    url: str  # the whole address, such as https://host/v1/embeddings
    model: str  # as the server calls it
    api_key: str | None = field(repr=False)
    concurrency: int  # requests at once, at least 1
    timeout_s: float  # of one request with all its retries, above 0


class EmbeddingsClient:
    """Asks one server for vectors. Thread-safe."""

    def __init__(self, endpoint: Endpoint, sleep: Callable[[float], None] | None = None) -> None:
        """Connect on first use. sleep: waits some seconds; by default until `close` at the latest."""
        self.endpoint = endpoint
        self.form: Format = "base64"  # of vectors: a third of the bytes; not every server has it
        self._closing = threading.Event()
        self._sleep = sleep or self._wait
        begin(self)
        self._path = parse_url(endpoint.url).request_uri
        self._headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "qrerank"}
        if endpoint.api_key:
            self._headers["Authorization"] = f"Bearer {endpoint.api_key}"

    def begin(self) -> None:
        """Leave the connections there are, on which two processes would read each other's answers; see `forks`."""
        # A pool of one host: the key can go nowhere else. Certificates are verified; proxies of the environment are
        # not used. One connection more than there are requests is for the probe.
        endpoint = self.endpoint
        self._pool = urllib3.connection_from_url(endpoint.url, maxsize=endpoint.concurrency + 1, block=True)

    def embed(self, texts: Sequence[str], dimension: int | None, tries: int = _TRIES) -> NDArray[np.float32]:
        """Return the (n, P) vectors of n ≥ 1 texts as the server gives them. Blocks.

        Args:
            texts: The texts.
            dimension: P; None: whatever it is.
            tries: How often the server is asked, at most.

        Raises:
            Refused: The server takes these texts not, or not so many at once.
            EncoderUnavailable: It does not answer, or answers wrongly.
        """
        limit_s = self.endpoint.timeout_s
        retrying = Retrying(
            retry=retry_if_exception_type(Busy),
            wait=_pause,
            stop=stop_after_attempt(tries) | stop_before_delay(limit_s),
            sleep=self._sleep,
            reraise=True,
        )
        answer: NDArray[np.float32] = retrying(self._ask, texts, dimension, time.monotonic() + limit_s)
        return answer

    def close(self) -> None:
        """Close idle connections and end all pauses."""
        self._closing.set()
        self._pool.close()

    def _wait(self, seconds: float) -> None:
        self._closing.wait(seconds)

    def _ask(self, texts: Sequence[str], dimension: int | None, until: float) -> NDArray[np.float32]:
        left_s = max(1e-3, until - time.monotonic())
        try:
            response = self._pool.urlopen(
                "POST",
                self._path,
                request_body(self.endpoint.model, texts, self.form),
                self._headers,
                retries=False,
                redirect=False,
                timeout=Timeout(connect=min(left_s, _CONNECT_S), read=left_s),
                pool_timeout=math.ceil(left_s),
                preload_content=False,
                decode_content=False,
            )
            try:
                body = _read(response, _TEXT_BYTES * (1 + len(texts)), until)
            finally:
                response.close()  # unless it was read to its end, its connection cannot be used again
                response.release_conn()
        except SSLError as error:
            raise Unusable("its certificate is not valid, or it speaks no TLS") from error
        except HTTPError as error:
            raise Busy(_reason(error)) from error
        check_status(response.status, _retry_after(response))
        return vectors(body, len(texts), dimension)


def _pause(state: RetryCallState) -> float:
    """Seconds until the next try: what the server wants, else growing pauses."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, Busy) and error.wanted_s is not None:
        return error.wanted_s
    return _BACKOFF(state)


def _retry_after(response: urllib3.BaseHTTPResponse) -> float | None:
    with suppress(InvalidHeader, ValueError, OverflowError):  # the latter for dates and numbers out of range
        return _HEADERS.get_retry_after(response)
    return None


def _read(response: urllib3.BaseHTTPResponse, most: int, until: float) -> bytes:
    """The body; each read has a time limit, and all of them together."""
    body = bytearray()
    for chunk in response.stream(2**16):
        body += chunk
        if len(body) > most:
            raise EncoderUnavailable(f"its answer is larger than {most} bytes")
        if time.monotonic() > until:
            raise Busy("it did not answer in time")
    return bytes(body)


def _reason(error: HTTPError) -> str:
    if isinstance(error, NewConnectionError):
        return "it cannot be reached"
    if isinstance(error, ConnectTimeoutError | ReadTimeoutError):
        return "it did not answer in time"
    return "the connection broke"
