"""Reranking over a WebSocket: many requests at once, each with its orders on the way, each to be cancelled alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import orjson
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from starlette.websockets import WebSocketState
from websockets.frames import CloseCode

from app.api.authorize import allow, caller, origin_of
from app.api.dependencies import dependencies
from app.api.dialects.body import check_lists, fields_of, memory_of
from app.api.dialects.detect import dialect_of
from app.api.dialects.events import Id, id_of
from app.api.exchange import aside
from app.api.middleware.body_limits import HeldMemory
from app.api.middleware.request_record import bind, finish
from app.api.rate_limit import charged, counted
from app.api.routes.stream import problem, work_of
from app.errors import InvalidRequest, Overloaded, ServiceError, TooLarge
from app.service.request import RerankRequest, ResolvedRerank, resolve
from app.service.streaming import follow
from app.telemetry.request_record import RequestRecord
from retrieval.deadline import Deadline

router = APIRouter()
_admit = allow("user")


@router.websocket("/v1/ws")
async def socket(websocket: WebSocket) -> None:
    """Talk until either side leaves; docs/streaming.md has the frames."""
    if _is_foreign(websocket):
        websocket.state.record.failed(HTTPStatus.FORBIDDEN, "forbidden")
        await websocket.close()
    else:
        await websocket.accept()
        await _Conversation(websocket).hold()


def _is_foreign(websocket: WebSocket) -> bool:
    """Whether another origin's page asks for what no key protects: for sockets, browsers leave that to the server."""
    origin, host = websocket.headers.get("origin"), websocket.headers.get("host")
    if dependencies(websocket).auth is not None or origin is None:
        return False
    try:
        return urlsplit(origin).netloc != host
    except ValueError:  # it is no origin
        return True


def _frame(to: Id | None, kind: str, fields: Mapping[str, Any]) -> str:
    own = {"type": kind, "id": to}
    return orjson.dumps(own | {**fields} | own).decode()  # first to be read, and in the place of fields of these names


@dataclass
class _Heard:
    """A frame that came."""

    record: RequestRecord
    memory: HeldMemory  # of the frame, and of the request in it until that is answered
    named: Id | None = None  # whom an error is for: nobody where it ends no request


class _Conversation:
    """One socket: its requests in flight, and whose turn it is to write."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._on = dependencies(websocket)
        self._flying: dict[Id, Deadline] = {}  # by the client's ids
        self._stopping = 0  # those that were cancelled and have not stopped yet
        self._writing = asyncio.Lock()

    async def hold(self) -> None:
        """Until either side leaves. If the client does, every request is called off; in any case it is waited for."""
        try:
            async with asyncio.TaskGroup() as requests:
                while (body := await self._receive()) is not None:
                    await self._hear(body, requests)
            await self._websocket.close(CloseCode.SERVICE_RESTART)
        except* WebSocketDisconnect:
            pass

    async def _receive(self) -> bytes | None:
        """The next frame; None if the server stops, and hears nothing more."""
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            if message["code"] == CloseCode.SERVICE_RESTART:
                return None
            raise WebSocketDisconnect(message["code"])
        text: str | None = message.get("text")
        return message["bytes"] if text is None else text.encode()

    async def _hear(self, body: bytes, requests: asyncio.TaskGroup) -> None:
        """Do what a frame asks for; say what is wrong with it."""
        heard = _Heard(self._see(), HeldMemory(self._on.bodies, self._websocket.scope))
        begun = False
        try:
            heard.memory.take(len(body) + memory_of(body))
            begun = await self._obey(body, heard, requests)
        except ServiceError as error:
            await self._say(heard.named, "error", problem(error, heard.record))
            finish(heard.record, self._on.watchers)
        finally:
            if not begun:
                heard.memory.give()

    async def _obey(self, body: bytes, heard: _Heard, requests: asyncio.TaskGroup) -> bool:
        """Do what a frame asks for; whether that is a request, which goes on."""
        reading = partial(self._fields, body)
        fields = await (counted(self._websocket, reading) if self._on.auth else reading())
        kind, named, record = fields.get("type"), id_of(fields), heard.record
        if kind == "ping":
            await self._say(None, "pong", {})
        elif kind not in {"rerank", "cancel"}:
            raise InvalidRequest("type: must be `rerank`, `cancel` or `ping`", ("type",))
        elif named is None:
            raise InvalidRequest("id: must be a number or a text of 1 to 128 characters", ("id",))
        elif kind == "cancel":
            await self._cancel(named)
        elif named in self._flying:
            raise InvalidRequest("id: the request that has it is in flight, and goes on; choose another", ("id",))
        else:
            heard.named, record.request_id = (
                named,
                f"{record.request_id}/{ascii(named).strip(chr(39))}",
            )  # fit for a log
            bind(record.request_id)
            await _admit(self._websocket)  # once more: since then its key may have ended
            self._check_room()
            asking = partial(self._read, body, fields, record)
            resolved = await (charged(self._websocket, asking) if self._on.auth else asking())
            self._flying[named] = resolved.deadline
            requests.create_task(self._answer(named, resolved, heard))
            return True
        return False

    def _see(self) -> RequestRecord:
        """A request that is about to be read."""
        state, route = self._websocket.state, self._websocket.scope["route"].path
        bind(state.request_id)
        return RequestRecord(state.request_id, "WS", route, identity=state.identity, origin=origin_of(self._websocket))

    async def _fields(self, body: bytes) -> Mapping[str, Any]:
        limit = self._on.settings.limits.body_bytes
        if len(body) > limit:
            raise TooLarge(
                f"the frame is larger than the {limit} bytes that are taken; send fewer or shorter documents"
            )
        fields = await aside(body, fields_of)
        if not isinstance(fields, Mapping):
            raise InvalidRequest("the frame must be a JSON object")
        return fields

    async def _read(self, body: bytes, fields: Mapping[str, Any], record: RequestRecord) -> ResolvedRerank:
        def translated(_: bytes) -> RerankRequest:
            check_lists(fields, self._on.settings.limits.documents)
            dialect = dialect_of(fields, self._websocket.url.path, self._websocket.headers)
            record.dialect = dialect.name
            return dialect.request(fields)

        asked = await aside(body, translated)
        models, settings = self._on.engine.ready_models(), self._on.settings
        resolved = resolve(asked, models, settings, caller(self._websocket), partial=True)
        record.units = resolved.cost.units
        return resolved

    def _check_room(self) -> None:
        running = len(self._flying) + self._stopping
        if running >= self._on.settings.limits.socket_requests:
            raise Overloaded(f"{running} requests are in flight on this connection; wait for one, or cancel one")

    async def _answer(self, named: Id, resolved: ResolvedRerank, heard: _Heard) -> None:
        """Do one request, and show it."""
        try:
            over = await self._report(named, resolved, heard.record)
            self._stopping -= not over
        finally:
            heard.memory.give()
            finish(heard.record, self._on.watchers)

    async def _report(self, named: Id, resolved: ResolvedRerank, record: RequestRecord) -> bool:
        """Have one request done, and pass on what it reports; whether that came to its end, or it was cancelled."""
        deadline = resolved.deadline
        work = work_of(resolved, self._on.collections, record, partial(_frame, named))
        async with follow(
            lambda report: self._on.engine.run(partial(work, report), resolved, record.watch),
            deadline,
            lambda error: _frame(named, "error", problem(error, record)),
        ) as reports:
            while await reports.more():
                async with self._writing:
                    frame = reports.take()  # only now: the newest there is when its turn comes
                    if deadline.cancelled:
                        break
                    if reports.over:
                        del self._flying[named]  # whoever reads the last frame may use the id and the room again
                        record.status = record.status if record.problem else HTTPStatus.OK
                        await self._send(frame)
                        return True
                    await self._send(frame)
        return False

    async def _cancel(self, named: Id) -> None:
        """Call a request off. Also said of one that just ended: nothing more comes under this id."""
        if deadline := self._flying.pop(named, None):
            deadline.cancel()
            self._stopping += 1
        await self._say(named, "cancelled", {})

    async def _say(self, to: Id | None, kind: str, fields: Mapping[str, Any]) -> None:
        async with self._writing:
            await self._send(_frame(to, kind, fields))

    async def _send(self, frame: str) -> None:
        if self._websocket.application_state is WebSocketState.CONNECTED:
            await self._websocket.send_text(frame)
