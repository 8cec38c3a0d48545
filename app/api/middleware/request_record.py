"""The one seam where requests are watched from their beginning to their end: their ids, records and times.

An id is the client's if it is a sane one, else a new one. It is bound to the context of what serves the request, and of
the tasks and threads that this begins, for the logs.
"""

from __future__ import annotations

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

from app.api.problems import HEADER
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
_ANSWERS = {"http.response.start", "websocket.accept", "websocket.http.response.start"}
_SANE = re.compile(r"[\w.:+/=-]{1,128}", re.ASCII)


def record_of(connection: HTTPConnection) -> RequestRecord:
    """The record of the request over HTTP that is being served."""
    return cast("RequestRecord", connection.state.record)


def bind(request_id: str) -> None:
    """Have what is logged from now on in this context be of this request."""
    bind_contextvars(request_id=request_id)


class RequestRecordMiddleware:
    """Shows every request over HTTP to the watchers; those on a WebSocket show themselves.

    Also has every route that answers GET answer HEAD: the same without a body (RFC 9110, section 9.3.2).
    """

    def __init__(self, app: ASGIApp, watchers: Sequence[Watcher], origins: Sequence[str] = ()) -> None:
        """watchers: they may not fail. origins: of pages that may see times in their browser's own measurements."""
        self._app, self._watchers, self._origins = app, watchers, frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers, state = Headers(scope=scope), scope.setdefault("state", {})
        given = headers.get(HEADER, "")
        request_id = state["request_id"] = given if _SANE.fullmatch(given) else uuid.uuid4().hex
        bind(request_id)  # and leave it: the server has something to say when this ends with an error
        method, client = scope.get("method", "WS"), scope.get("client")
        record = state["record"] = RequestRecord(request_id, method, origin=client[0] if client else None)
        inner = {**scope, "method": "GET"} if method == "HEAD" else scope
        timed_for = self._timed_for(headers.get("origin", "")) if self._origins else ()

        async def send_and_note(message: Message) -> None:
            if message["type"] in _ANSWERS:
                record.status = message.get("status", record.status)
                _note(record, inner)
                MutableHeaders(scope=message)[HEADER] = request_id
                if method == "POST":
                    message["headers"] = [*message["headers"], *times(record, message["status"]), *timed_for]
            elif method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(inner, receive, send_and_note)
        except Exception:
            if record.status == CLIENT_GONE:  # the answer to it begins further out
                record.failed(HTTPStatus.INTERNAL_SERVER_ERROR, "internal")
            raise
        finally:
            _note(record, inner)
            if scope["type"] == "http" or record.problem:  # or it was refused to begin to talk
                finish(record, self._watchers)

    def _timed_for(self, origin: str) -> tuple[tuple[bytes, bytes], ...]:
        """The header that says whose pages may see the times."""
        allowed = "*" if "*" in self._origins else origin if origin in self._origins else None
        return ((b"timing-allow-origin", allowed.encode("latin-1")),) if allowed else ()


def _note(record: RequestRecord, scope: Scope) -> None:
    """Note which route a request came to, and who calls, as far as that is known by now."""
    record.route = getattr(scope.get("route"), "path", UNKNOWN)
    record.identity = scope["state"].get("identity")


def note(record: RequestRecord, done: WorkDone) -> None:
    """Note what was done. May be called in a worker."""
    record.done = done
    record.watch.laps.extend(done.laps)


def finish(record: RequestRecord, watchers: Iterable[Watcher]) -> None:
    """A request is over: show it to the watchers."""
    record.seconds = time.perf_counter() - record.begun
    for watch in watchers:
        watch(record)


def times(record: RequestRecord, status: int) -> list[tuple[bytes, bytes]]:
    """How long a request took that is being answered now: its stages as browsers read them, and as TEI tells them.

    Of an error the total alone. What TEI tells of tokenising is within the time of encoding.
    """
    total = 1e3 * (time.perf_counter() - record.begun)
    stages = record.watch.ms if status < HTTPStatus.BAD_REQUEST else {}
    timing = ", ".join([f"{stage};dur={ms:.3f}" for stage, ms in (stages | {"total": total}).items()])
    told = {"server-timing": timing, "x-total-time": int(total)}
    if stages:
        told |= {
            "x-queue-time": int(stages.get("queue", 0.0) + stages.get("wait", 0.0)),
            "x-inference-time": int(stages.get("encode_query", 0.0) + stages.get("encode", 0.0)),
            "x-compute-type": "cpu",
            "x-compute-time": int(total),
        }
        if record.done.tokens is not None:
            told["x-compute-tokens"] = record.done.tokens
    return [(name.encode(), str(value).encode()) for name, value in told.items()]
