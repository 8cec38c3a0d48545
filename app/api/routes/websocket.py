"""Reranking over a WebSocket: concurrent requests with partial rankings, each of which can be cancelled."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import orjson
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from starlette.websockets import WebSocketState
from structlog.contextvars import bind_contextvars
from websockets.frames import CloseCode

from app.api.dependencies import dependencies, origin_of, still_allowed
from app.api.dialects.body import check_lists, fields_of, memory_of
from app.api.dialects.detect import dialect_of
from app.api.dialects.events import Id, id_of
from app.api.exchange import aside, charged, counted
from app.api.middleware.body_limits import HeldMemory
from app.api.middleware.request_record import MOST_CHARACTERS, finish
from app.api.middleware.root_path import path_of
from app.api.routes.rerank import decided
from app.api.routes.stream import problem, work_of
from app.errors import Forbidden, InvalidRequest, Overloaded, ServiceError, TooLarge
from app.service.request import RerankRequest, ResolvedRerank
from app.service.streaming import follow
from app.telemetry.request_record import RequestRecord
from retrieval.deadline import Deadline

router = APIRouter()
_OWN_CHARACTERS = 64  # of a client's id in a request's; a longer one is hashed


@router.websocket("/v1/ws")
async def socket(websocket: WebSocket) -> None:
    """Serve requests until either side closes the connection; docs/streaming.md describes the frames."""
    if _is_cross_origin(websocket):
        raise Forbidden("without authentication, pages of other origins may not connect: see QRERANK_CORS__ORIGINS")
    await websocket.accept()
    await _Session(websocket).run()


def _is_cross_origin(websocket: WebSocket) -> bool:
    """Whether a page of an origin that is not allowed connects without authentication; browsers do not check it."""
    origin, host, deps = websocket.headers.get("origin"), websocket.headers.get("host"), dependencies(websocket)
    if deps.auth is not None or origin is None or not {"*", origin}.isdisjoint(deps.settings.cors.origins):
        return False
    try:
        return urlsplit(origin).netloc != host
    except ValueError:  # the header is not a URL
        return True


def _frame(request_id: Id | None, kind: str, fields: Mapping[str, Any]) -> str:
    header = {"type": kind, "id": request_id}
    if kind == "final":
        header["request_id"] = fields["id"]
    return orjson.dumps(header | {**fields} | header).decode()  # first in the frame, and never overwritten by fields


def _long_id(connection_id: str, number: int, request_id: Id) -> str:
    """The id of a request in logs and for feedback, at most 128 characters.

    number: of the request on its connection; clients use an id again.
    """
    own = ascii(request_id).strip("'")
    if len(own) > _OWN_CHARACTERS:
        own = hashlib.blake2b(own.encode(), digest_size=_OWN_CHARACTERS // 2).hexdigest()
    own = f"/{number}/{own}"
    return f"{connection_id[: MOST_CHARACTERS - len(own)]}{own}"


@dataclass
class _Received:
    """A received frame."""

    record: RequestRecord
    memory: HeldMemory  # reserved for the frame, and for its request until that is answered
    request_id: Id | None = None  # of the request that an error ends; None if it ends none


class _Session:
    """One WebSocket connection: its requests in flight, and the lock for writing."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._deps = dependencies(websocket)
        self._in_flight: dict[Id, Deadline] = {}  # by the client's ids
        self._begun = 0  # number of requests so far
        self._cancelling = 0  # number of cancelled requests that have not ended yet
        self._write_lock = asyncio.Lock()

    async def run(self) -> None:
        """Serve until either side closes. If the client does, all requests are cancelled; they are always awaited."""
        try:
            async with asyncio.TaskGroup() as requests:
                while (body := await self._receive()) is not None:
                    await self._handle(body, requests)
            await self._websocket.close(CloseCode.SERVICE_RESTART)
        except* WebSocketDisconnect:
            pass

    async def _receive(self) -> bytes | None:
        """The next frame; None if the server shuts down and receives no more."""
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            if message.get("is_shutdown"):
                return None
            raise WebSocketDisconnect(message["code"])
        text: str | None = message.get("text")
        return message["bytes"] if text is None else text.encode()

    async def _handle(self, body: bytes, requests: asyncio.TaskGroup) -> None:
        """Process a frame; send an error frame if it is invalid."""
        received = _Received(self._new_record(), HeldMemory(self._deps.bodies, self._websocket.scope))
        is_started = False
        try:
            received.memory.take(len(body) + memory_of(body))
            is_started = await self._dispatch(body, received, requests)
        except ServiceError as error:
            failure = problem(error, received.record)
            finish(received.record, self._deps.watchers)
            await self._send_frame(received.request_id, "error", failure)
        finally:
            if not is_started:
                received.memory.give()

    async def _dispatch(self, body: bytes, received: _Received, requests: asyncio.TaskGroup) -> bool:
        """Dispatch a frame by its type; True if it started a request, which holds the frame's memory."""
        fields = await counted(self._websocket, partial(self._parse, body))
        kind, request_id, record = fields["type"], id_of(fields), received.record
        if kind == "ping" or request_id is None:  # pings alone are taken without one
            await self._send_frame(None, "pong", {})
        elif kind == "cancel":
            await self._cancel(request_id)
        elif request_id in self._in_flight:
            raise InvalidRequest("id: a request with this id is in flight, and continues; choose another id", ("id",))
        else:
            received.request_id = request_id
            self._begun += 1
            record.request_id = _long_id(record.request_id, self._begun, request_id)
            bind_contextvars(request_id=record.request_id)
            await still_allowed(self._websocket)
            self._check_limit()
            read = partial(self._read, body, fields, record)
            resolved = await charged(self._websocket, read)
            self._in_flight[request_id] = resolved.deadline
            answering = requests.create_task(self._answer(request_id, resolved, record))
            answering.add_done_callback(lambda _: self._end(received))  # also of a task that is cancelled unstarted
            return True
        return False

    def _new_record(self) -> RequestRecord:
        """The record of a frame that is about to be parsed."""
        state, scope = self._websocket.state, self._websocket.scope
        bind_contextvars(request_id=state.request_id)
        return RequestRecord(
            state.request_id,
            "WS",
            scope["route"].path,
            identity=state.identity,
            origin=origin_of(self._websocket),
            root_path=scope.get("root_path", ""),
        )

    async def _parse(self, body: bytes) -> Mapping[str, Any]:
        limit = self._deps.settings.limits.body_bytes
        if len(body) > limit:
            raise TooLarge(
                f"the frame is larger than the {limit} bytes that are accepted; send fewer or shorter documents"
            )
        fields = await aside(body, fields_of)
        if not isinstance(fields, Mapping):
            raise InvalidRequest("the frame must be a JSON object")
        if fields.get("type") not in ("rerank", "cancel", "ping"):  # no set: a list cannot be looked up in one
            raise InvalidRequest("type: must be `rerank`, `cancel` or `ping`", ("type",))
        if fields["type"] != "ping" and id_of(fields) is None:
            raise InvalidRequest("id: must be a number up to 2^53 or a text of 1 to 128 characters", ("id",))
        return fields

    async def _read(self, body: bytes, fields: Mapping[str, Any], record: RequestRecord) -> ResolvedRerank:
        def translate(_: bytes) -> RerankRequest:
            check_lists(fields, self._deps.settings.limits.documents)
            dialect = dialect_of(fields, path_of(self._websocket.scope), self._websocket.headers)
            record.dialect = dialect.name
            return dialect.request(fields)

        rerank_request = await aside(body, translate)
        return decided(self._websocket, rerank_request, record, partial_rankings=True)

    def _check_limit(self) -> None:
        running = len(self._in_flight) + self._cancelling
        if running >= self._deps.settings.limits.socket_requests:
            raise Overloaded(f"{running} requests are in flight on this connection; wait for one, or cancel one")

    async def _answer(self, request_id: Id, resolved: ResolvedRerank, record: RequestRecord) -> None:
        """Serve one request."""
        completed = await self._report(request_id, resolved, record)
        self._cancelling -= not completed

    def _end(self, received: _Received) -> None:
        """Release the memory of a request, and pass its record to the watchers."""
        received.memory.give()
        finish(received.record, self._deps.watchers)

    async def _report(self, request_id: Id, resolved: ResolvedRerank, record: RequestRecord) -> bool:
        """Run one request and send its reports; False if it was cancelled before the last one."""
        deadline = resolved.deadline
        work = work_of(resolved, self._deps.collections, record, partial(_frame, request_id))
        async with follow(
            lambda report: self._deps.engine.run(partial(work, report), resolved, record.watch),
            deadline,
            lambda error: _frame(request_id, "error", problem(error, record)),
        ) as reports:
            while await reports.more():
                async with self._write_lock:
                    frame = reports.take()  # taken under the lock: so it is the newest report
                    if deadline.cancelled:
                        break
                    if reports.over:
                        # Before the last frame is sent: its reader may reuse the id at once.
                        del self._in_flight[request_id]
                        record.status = record.status if record.problem else HTTPStatus.OK
                        await self._send(frame)
                        return True
                    await self._send(frame)
        return False

    async def _cancel(self, request_id: Id) -> None:
        """Cancel a request. Also confirmed for one that has just ended: no more frames have this id."""
        if deadline := self._in_flight.pop(request_id, None):
            deadline.cancel()
            self._cancelling += 1
        await self._send_frame(request_id, "cancelled", {})

    async def _send_frame(self, request_id: Id | None, kind: str, fields: Mapping[str, Any]) -> None:
        async with self._write_lock:
            await self._send(_frame(request_id, kind, fields))

    async def _send(self, frame: str) -> None:
        if self._websocket.application_state is WebSocketState.CONNECTED:
            await self._websocket.send_text(frame)
