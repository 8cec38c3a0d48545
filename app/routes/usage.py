"""The one seam where what callers use is counted, and where they see it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.auth.usage import Usage, who
from app.errors import InvalidRequest
from app.identity import ANONYMOUS, Identity
from app.openapi import content, reference
from app.routes.problems import PROBLEMS
from app.wire.keys import UsageResponse, respond_usage

Used = Callable[[int, int], None]  # documents, tokens

REFUSALS = {403, 413, 429, 503}  # by role, limit or overload
_LONGEST_DAYS = 366
_DEFAULT_DAYS = 30

router = APIRouter(tags=["usage"])


def used_by(connection: HTTPConnection) -> Used:
    """Counts what a request's work used, from any thread."""
    usage: Usage = connection.app.state.usage
    identity: Identity = getattr(connection.state, "identity", ANONYMOUS)
    return lambda documents, tokens: usage.count(identity, documents=documents, tokens=tokens)


class UsageMiddleware:
    """Counts every request of a caller who was let in, and whether it was refused."""

    def __init__(self, app: ASGIApp, usage: Usage) -> None:
        """Wrap an ASGI application."""
        self._app, self._usage = app, usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; requests over a WebSocket are counted where they are read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def send_and_count(message: Message) -> None:
            if message["type"] == "http.response.start" and (identity := state.get("identity")):
                self._usage.count(identity, requests=1, rejected=int(message["status"] in REFUSALS))
            await send(message)

        await self._app(scope, receive, send_and_count)


MODELS: tuple[type[BaseModel], ...] = (UsageResponse,)  # that the description refers to
_RESPONSES: dict[int | str, dict[str, Any]] = {status: PROBLEMS[status] for status in (401, 403, 422, 503)}
_RESPONSES[200] = {"description": UsageResponse.__doc__, **content(reference(UsageResponse))}
_DAYS = {
    "name": "days",
    "in": "query",
    "description": "How many days, today among them.",
    "schema": {"type": "integer", "minimum": 1, "maximum": _LONGEST_DAYS, "default": _DEFAULT_DAYS},
}


@router.get(
    "/v1/usage",
    summary="What you used",
    responses=_RESPONSES,
    openapi_extra={"parameters": [_DAYS]},  # as one of FastAPI's its errors would have another shape
)
async def own_usage(request: Request) -> dict[str, Any]:
    """What the caller used per day in UTC, written every second.

    A key's usage goes on when it is rotated. Without authentication nothing is kept.
    """
    days = _days(request.query_params.get("days", str(_DEFAULT_DAYS)))
    identity: Identity = request.state.identity
    auth = request.app.state.auth
    if auth is None:
        return respond_usage(identity.name, (), kept=False)
    found = await auth.in_thread(partial(auth.used.read, days, who(identity)))
    return respond_usage(identity.name, found, kept=True)


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= _LONGEST_DAYS):
        raise InvalidRequest(f"days: must be a whole number from 1 to {_LONGEST_DAYS}", ("days",))
    return int(text)
