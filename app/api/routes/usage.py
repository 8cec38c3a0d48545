"""What callers used: each its own, administrators that of all."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from fastapi import APIRouter, Request
from pydantic import BaseModel

from app.api.dependencies import dependencies
from app.api.dialects.keys import AllUsageResponse, UsageResponse, respond_all_usage, respond_usage
from app.api.exchange import check_parameters, whole_number
from app.api.openapi import content, reference
from app.api.problems import problems
from app.auth.usage import who
from app.identity import Identity

if TYPE_CHECKING:
    from app.auth.auth import Auth  # for types only: SQLAlchemy takes memory

_LONGEST_DAYS = 366
_DEFAULT_DAYS = 30

router = APIRouter(tags=["usage"])
admin_router = APIRouter(tags=["admin"])


MODELS: tuple[type[BaseModel], ...] = (UsageResponse, AllUsageResponse)  # referenced by the OpenAPI description
_RESPONSES = problems(401, 403, 422, 503)
_OWN: dict[int | str, dict[str, Any]] = {
    200: {"description": UsageResponse.__doc__, **content(reference(UsageResponse))}
}
_ALL: dict[int | str, dict[str, Any]] = {
    200: {"description": AllUsageResponse.__doc__, **content(reference(AllUsageResponse))}
}
_DAYS = {
    "name": "days",
    "in": "query",
    "description": "Number of days, today included.",
    "schema": {"type": "integer", "minimum": 1, "maximum": _LONGEST_DAYS, "default": _DEFAULT_DAYS},
}


@router.get(
    "/v1/usage",
    summary="Your usage",
    responses=_RESPONSES | _OWN,
    openapi_extra={"parameters": [_DAYS]},  # FastAPI's own parameter errors have another format
)
async def own_usage(request: Request) -> dict[str, Any]:
    """The caller's usage per day in UTC, stored every second.

    Rotating a key keeps its usage. Without authentication no usage is stored.
    """
    check_parameters(request, "days")
    days = whole_number(request, "days", _DEFAULT_DAYS, 1, _LONGEST_DAYS)
    identity: Identity = request.state.identity
    auth = dependencies(request).auth
    if auth is None:
        return respond_usage(identity.name, (), kept=False)
    usage_days = await auth.in_thread(partial(auth.used.read, days, who(identity)))
    return respond_usage(identity.name, usage_days, kept=True)


@admin_router.get(
    "/v1/admin/usage",
    summary="The usage of all callers",
    responses=_RESPONSES | _ALL,
    openapi_extra={"parameters": [_DAYS]},
)
async def all_usage(request: Request) -> dict[str, Any]:
    """The usage of every caller per day in UTC: keys by their id, tokens and keys of the environment by their name."""
    check_parameters(request, "days")
    days = whole_number(request, "days", _DEFAULT_DAYS, 1, _LONGEST_DAYS)
    auth = cast("Auth", dependencies(request).auth)  # an administrator has a key
    return respond_all_usage(await auth.in_thread(partial(auth.used.read, days)))
