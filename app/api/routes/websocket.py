"""Reranking over a WebSocket: many requests at once, each with its orders on the way, each to be cancelled alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlsplit

import orjson
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from starlette.websockets import WebSocketState
from websockets.frames import CloseCode

from app.api.authorize import allow, caller, origin_of
from app.api.dialects.body import check_lists, fields_of, memory_of
from app.api.dialects.detect import dialect_of
from app.api.dialects.events import Id, id_of
from app.api.middleware.body_limits import HeldMemory
from app.api.middleware.request_id import bind
from app.api.middleware.request_record import queued
from app.api.rate_limit import counted, paid
from app.api.request_body import is_small
from app.api.routes.rerank import cost_of
from app.api.routes.stream import problem, work_of
from app.engine.model_registry import Models
from app.errors import InvalidRequest, Overloaded, ServiceError, TooLarge
from app.quotas.quotas import Cost
from app.service.request import RerankRequest
from app.service.rerank import Service, check_limits, deadline_of
from app.service.streaming import follow
from app.telemetry.request_record import Observed, Watcher
from retrieval.deadline import Deadline

T = TypeVar("T")

router = APIRouter()
_admit = allow("user")


@router.websocket("/v1/ws")
async def socket(websocket: WebSocket) -> None:
    """Talk until either side leaves; docs/streaming.md has the frames."""
    if _is_foreign(websocket):
        websocket.state.observed.failed(HTTPStatus.FORBIDDEN, "forbidden")
        await websocket.close()
    else:
        await websocket.accept()
        await _Conversation(websocket).hold()


def _is_foreign(websocket: WebSocket) -> bool:
    """Whether another origin's page asks for what no key protects: for sockets, browsers leave that to the server."""
    origin, host = websocket.headers.get("origin"), websocket.headers.get("host")
    if websocket.app.state.auth is not None or origin is None:
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

    seen: Observed
    memory: HeldMemory  # of the frame, and of the request in it until that is answered
    named: Id | None = None  # whom an error is for: nobody where it ends no request


class _Conversation:
    """One socket: its requests in flight, and whose turn it is to write."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._service: Service = websocket.app.state.service
        self._watchers: Sequence[Watcher] = websocket.app.state.watchers
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
        heard = _Heard(self._see(), HeldMemory(self._websocket.app.state.bodies, self._websocket.scope))
        begun = False
        try:
            heard.memory.take(len(body) + memory_of(body))
            begun = await self._obey(body, heard, requests)
        except ServiceError as error:
            await self._say(heard.named, "error", problem(error, heard.seen))
            heard.seen.end(self._watchers)
        finally:
            if not begun:
                heard.memory.give()

    async def _obey(self, body: bytes, heard: _Heard, requests: asyncio.TaskGroup) -> bool:
        """Do what a frame asks for; whether that is a request, which goes on."""
        fields = await counted(self._websocket, lambda: self._fields(body))
        kind, named, seen = fields.get("type"), id_of(fields), heard.seen
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
            heard.named, seen.request_id = named, f"{seen.request_id}/{ascii(named).strip(chr(39))}"  # fit for a log
            bind(seen.request_id)
            await _admit(self._websocket)  # once more: since then its key may have ended
            self._check_room()
            asked, cost = await paid(self._websocket, seen, lambda: _aside(body, self._asked, fields, seen), self._cost)
            deadline = deadline_of(asked.deadline_ms, self._service.settings, caller(self._websocket))
            self._flying[named] = deadline
            requests.create_task(self._answer(named, asked, cost, heard, deadline))
            return True
        return False

    def _see(self) -> Observed:
        """A request that is about to be read."""
        state, route = self._websocket.state, self._websocket.scope["route"].path
        bind(state.request_id)
        return Observed(state.request_id, "WS", route, identity=state.identity, origin=origin_of(self._websocket))

    async def _fields(self, body: bytes) -> Mapping[str, Any]:
        limit = self._service.settings.limits.body_bytes
        if len(body) > limit:
            raise TooLarge(
                f"the frame is larger than the {limit} bytes that are taken; send fewer or shorter documents"
            )
        fields = await _aside(body, fields_of, body)
        if not isinstance(fields, Mapping):
            raise InvalidRequest("the frame must be a JSON object")
        return fields

    def _asked(self, fields: Mapping[str, Any], seen: Observed) -> RerankRequest:
        check_lists(fields, self._service.settings.limits.documents)
        dialect = dialect_of(fields, self._websocket.url.path, self._websocket.headers)
        seen.dialect = dialect.name
        asked = dialect.request(fields)
        check_limits(asked, self._service.settings.limits)
        return asked

    def _cost(self, asked: RerankRequest, models: Models) -> Cost:
        return cost_of(asked, models, self._service.settings, reported=True)

    def _check_room(self) -> None:
        running = len(self._flying) + self._stopping
        if running >= self._service.settings.limits.socket_requests:
            raise Overloaded(f"{running} requests are in flight on this connection; wait for one, or cancel one")

    async def _answer(self, named: Id, asked: RerankRequest, cost: Cost, heard: _Heard, deadline: Deadline) -> None:
        """Do one request, and show it."""
        try:
            told = await self._tell(named, asked, cost, heard.seen, deadline)
            self._stopping -= not told
        finally:
            heard.memory.give()
            heard.seen.end(self._watchers)

    async def _tell(self, named: Id, asked: RerankRequest, cost: Cost, seen: Observed, deadline: Deadline) -> bool:
        """Have one request done, and pass on what is told of it; whether that came to its end, or it was cancelled."""
        engine = self._websocket.app.state.engine
        work = queued(seen, work_of(asked, deadline, self._service, partial(_frame, named), seen))
        async with follow(
            lambda report: engine.run(
                lambda models: work(models, report), asked.texts, deadline, asked.model, cost.units
            ),
            deadline,
            lambda error: _frame(named, "error", problem(error, seen)),
        ) as reports:
            while await reports.more():
                async with self._writing:
                    frame = reports.take()  # only now: the newest there is when its turn comes
                    if deadline.cancelled:
                        break
                    if reports.over:
                        del self._flying[named]  # whoever reads the last frame may use the id and the room again
                        seen.status = seen.status if seen.problem else HTTPStatus.OK
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


async def _aside(body: bytes, work: Callable[..., T], *arguments: Any) -> T:
    """What work on a body gives; done in a thread if the body is large."""
    return work(*arguments) if is_small(body) else await asyncio.to_thread(work, *arguments)
