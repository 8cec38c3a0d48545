"""What callers used, as they see it."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from app.api.dependencies import dependencies
from app.api.dialects.keys import UsageResponse, respond_usage
from app.api.openapi import content, reference
from app.api.problems import PROBLEMS
from app.auth.usage import who
from app.errors import InvalidRequest
from app.identity import Identity

_LONGEST_DAYS = 366
_DEFAULT_DAYS = 30

router = APIRouter(tags=["usage"])


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
    auth = dependencies(request).auth
    if auth is None:
        return respond_usage(identity.name, (), kept=False)
    found = await auth.in_thread(partial(auth.used.read, days, who(identity)))
    return respond_usage(identity.name, found, kept=True)


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= _LONGEST_DAYS):
        raise InvalidRequest(f"days: must be a whole number from 1 to {_LONGEST_DAYS}", ("days",))
    return int(text)
