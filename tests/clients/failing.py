"""Servers that answer every rerank request with one error each, through the real application's error seam."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from unittest.mock import patch

import uvicorn

from app.api.error_catalogue import ERRORS, Entry
from app.errors import (
    MalformedBody,
    Overloaded,
    ServiceError,
    TooLate,
    UnknownCollection,
)
from app.main import create_app
from app.settings import Settings


class Forbidden(ServiceError):
    """No part of the service raises this."""


class TooManyRequests(ServiceError):
    """Nor this."""


@dataclass(frozen=True)
class Failure:
    """How a server is made to fail, and what it must say."""

    says: str
    settings: dict[str, Any] = field(default_factory=dict)
    raises: type[Exception] | None = None  # where the work would be done; None: the request is really refused


FAILURES = {
    400: Failure("the body is not JSON in UTF-8", raises=MalformedBody),
    401: Failure("this key is not known here", {"auth": {"enabled": True, "keys": ["the-only-key-that-is-right"]}}),
    403: Failure("this key may not rerank", raises=Forbidden),
    404: Failure("there is no such collection", raises=UnknownCollection),
    413: Failure("2 documents were sent and at most 1", {"limits": {"documents": 1}}),
    422: Failure("query: must not be empty"),  # the clients send a blank one
    429: Failure("over 60 requests in this minute; wait", raises=TooManyRequests),
    500: Failure("the service failed on this request", raises=RuntimeError),
    503: Failure("96 requests are being served or wait", raises=Overloaded),
    504: Failure("the deadline passed before there was an answer", raises=TooLate),
}


@contextmanager
def failing_servers(folder: Path) -> Iterator[dict[int, str]]:
    """The address of a server for each status."""
    with ExitStack() as stack:
        added = {
            Forbidden: Entry(HTTPStatus.FORBIDDEN, "", ""),
            TooManyRequests: Entry(HTTPStatus.TOO_MANY_REQUESTS, "", "", retry_after_s=1),
        }
        stack.enter_context(patch.dict(ERRORS, added))
        yield {status: stack.enter_context(_server(failure, folder)) for status, failure in FAILURES.items()}


@contextmanager
def _server(failure: Failure, folder: Path) -> Iterator[str]:
    async def fail(*_: object) -> None:
        raise failure.raises(failure.says)

    app = create_app(Settings(model="hash", data_dir=folder, **failure.settings))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while app.state.dependencies.engine.state.phase == "loading" or not server.started:
        time.sleep(0.01)
    if failure.raises:
        app.state.dependencies.engine.run = fail
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
