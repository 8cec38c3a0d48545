"""Middleware that records each request from start to end: request id, `RequestRecord` and timing headers.

The request id is the client's if it is valid, else a new one. For the logs it is bound to the context that serves the
request, and so to the tasks and threads started there.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import cast

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from app.api.error_catalogue import code_of
from app.api.problems import HEADER
from app.errors import NotReady
from app.service.result import WorkDone
from app.telemetry.request_record import CLIENT_GONE, UNKNOWN, RequestRecord, Watcher

# Headers that pages of allowed origins may read.
TIMES = (
    "Server-Timing",
    "X-Total-Time",
    "X-Queue-Time",
    "X-Inference-Time",
    "X-Compute-Type",
    "X-Compute-Time",
    "X-Compute-Tokens",
)
_RESPONSE_STARTS = {"http.response.start", "websocket.accept", "websocket.http.response.start"}
MOST_CHARACTERS = 128  # of a request's id
_VALID_ID = re.compile(rf"[\w.:+/=-]{{1,{MOST_CHARACTERS}}}", re.ASCII)


def record_of(connection: HTTPConnection) -> RequestRecord:
    """The record of the current HTTP request."""
    return cast("RequestRecord", connection.state.record)


class RequestRecordMiddleware:
    """Records every HTTP request and passes the record to the watchers; the WebSocket route does so for its requests.

    Also answers HEAD on every route that has GET: the same response without a body (RFC 9110, section 9.3.2).
    """

    def __init__(self, app: ASGIApp, watchers: Sequence[Watcher], origins: Sequence[str] = ()) -> None:
        """watchers: must not raise. origins: whose pages may read the times in the browser's Resource Timing."""
        self._app, self._watchers, self._origins = app, watchers, frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers, state = Headers(scope=scope), scope.setdefault("state", {})
        client_id = headers.get(HEADER, "")
        request_id = state["request_id"] = client_id if _VALID_ID.fullmatch(client_id) else uuid.uuid4().hex
        bind_contextvars(request_id=request_id)  # for the logs; never unbound: the server logs with it when this raises
        method, client = scope.get("method", "WS"), scope.get("client")
        origin = client[0] if client else None
        record = RequestRecord(request_id, method, origin=origin, root_path=scope.get("root_path", ""))
        state["record"] = record
        inner = {**scope, "method": "GET"} if method == "HEAD" else scope
        timing_origin = self._timing_origin(headers.get("origin", "")) if self._origins else ()

        async def send_and_record(message: Message) -> None:
            if message["type"] in _RESPONSE_STARTS:
                record.status = message.get("status", record.status)
                _record_route(record, inner)
                MutableHeaders(scope=message).update({HEADER: request_id} | state.get("quota_headers", {}))
                if method == "POST":
                    message["headers"] = [*message["headers"], *times(record, message["status"]), *timing_origin]
            elif method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(inner, receive, send_and_record)
        except (Exception, asyncio.CancelledError) as error:
            if record.status == CLIENT_GONE:  # the error response is sent by an outer middleware
                _record_failure(record, error)
            raise
        finally:
            _record_route(record, inner)
            if scope["type"] == "http" or record.problem:  # or the WebSocket was refused before its handshake
                finish(record, self._watchers)

    def _timing_origin(self, origin: str) -> tuple[tuple[bytes, bytes], ...]:
        """The Timing-Allow-Origin header, if the origin is allowed."""
        allowed = "*" if "*" in self._origins else origin if origin in self._origins else None
        return ((b"timing-allow-origin", allowed.encode("latin-1")),) if allowed else ()


def _record_failure(record: RequestRecord, error: BaseException) -> None:
    """Record an error that no handler turned into a response."""
    if isinstance(error, asyncio.CancelledError):  # the server stops
        record.failed(HTTPStatus.SERVICE_UNAVAILABLE, code_of(NotReady))
    else:
        record.failed(HTTPStatus.INTERNAL_SERVER_ERROR, "internal")


def _record_route(record: RequestRecord, scope: Scope) -> None:
    """Record the route and the caller's identity, as far as they are known yet."""
    record.route = getattr(scope.get("route"), "path", UNKNOWN)
    record.identity = scope["state"].get("identity")


def note(record: RequestRecord, done: WorkDone) -> None:
    """Record the work that was done. May be called in a worker thread."""
    record.done = done
    record.watch.laps.extend(done.laps)


def finish(record: RequestRecord, watchers: Iterable[Watcher]) -> None:
    """Record the duration of a finished request, and pass the record to the watchers."""
    record.seconds = time.perf_counter() - record.begun
    for watch in watchers:
        watch(record)


def times(record: RequestRecord, status: int) -> list[tuple[bytes, bytes]]:
    """The timing headers of a response: Server-Timing for browsers, and TEI's headers.

    An error has the total only. TEI's tokenization time is part of the inference time here.
    """
    total = 1e3 * (time.perf_counter() - record.begun)
    stages = record.watch.ms if status < HTTPStatus.BAD_REQUEST else {}
    timing = ", ".join([f"{stage};dur={ms:.3f}" for stage, ms in (stages | {"total": total}).items()])
    timing_headers = {"server-timing": timing, "x-total-time": int(total)}
    if stages:
        timing_headers |= {
            "x-queue-time": int(stages.get("queue", 0.0) + stages.get("wait", 0.0)),
            "x-inference-time": int(stages.get("encode_query", 0.0) + stages.get("encode", 0.0)),
            "x-compute-type": "cpu",
            "x-compute-time": int(total),
        }
        if record.done.tokens is not None:
            timing_headers["x-compute-tokens"] = record.done.tokens
    return [(name.encode(), str(value).encode()) for name, value in timing_headers.items()]
