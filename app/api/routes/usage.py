"""A caller's own usage."""

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


MODELS: tuple[type[BaseModel], ...] = (UsageResponse,)  # referenced by the OpenAPI description
_RESPONSES: dict[int | str, dict[str, Any]] = {status: PROBLEMS[status] for status in (401, 403, 422, 503)}
_RESPONSES[200] = {"description": UsageResponse.__doc__, **content(reference(UsageResponse))}
_DAYS = {
    "name": "days",
    "in": "query",
    "description": "Number of days, today included.",
    "schema": {"type": "integer", "minimum": 1, "maximum": _LONGEST_DAYS, "default": _DEFAULT_DAYS},
}


@router.get(
    "/v1/usage",
    summary="Your usage",
    responses=_RESPONSES,
    openapi_extra={"parameters": [_DAYS]},  # FastAPI's own parameter errors have another format
)
async def own_usage(request: Request) -> dict[str, Any]:
    """The caller's usage per day in UTC, stored every second.

    Rotating a key keeps its usage. Without authentication no usage is stored.
    """
    days = _days(request.query_params.get("days", str(_DEFAULT_DAYS)))
    identity: Identity = request.state.identity
    auth = dependencies(request).auth
    if auth is None:
        return respond_usage(identity.name, (), kept=False)
    usage_days = await auth.in_thread(partial(auth.used.read, days, who(identity)))
    return respond_usage(identity.name, usage_days, kept=True)


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= _LONGEST_DAYS):
        raise InvalidRequest(f"days: must be a whole number from 1 to {_LONGEST_DAYS}", ("days",))
    return int(text)
