"""Liveness, readiness, and the health of each component."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import orjson
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from app.api.dependencies import allow_operators, dependencies
from app.api.dialects.health import HealthResponse, respond
from app.api.error_catalogue import ERRORS
from app.api.openapi import content, reference
from app.api.problems import problems
from app.errors import NotReady

router: APIRouter = APIRouter(tags=["operations"])

MODELS: tuple[type[BaseModel], ...] = (HealthResponse,)  # referenced by the OpenAPI description
_DETAILED: dict[int | str, dict[str, Any]] = {
    200: {"description": "The service serves.", **content(reference(HealthResponse))},
    503: {"description": "The service does not serve; see Retry-After.", **content(reference(HealthResponse))},
    **problems(401, 403),
}


@router.get("/health", summary="Is the process alive?")
async def health() -> dict[str, str]:
    """Answers as long as the event loop runs."""
    return {"status": "alive"}


@router.get("/health/ready", responses=problems(503), summary="Is the service ready?")
async def ready(request: Request) -> dict[str, str]:
    """200 while the models rerank a probe in time and the default collection is intact; else 503 with the reason.

    The result of the last probe is cached for a few seconds. An overload does not make the service unready.
    """
    deps = dependencies(request)
    if reason := await deps.health.wrong():
        raise NotReady(reason)
    return {"status": deps.engine.state.phase, "reason": deps.engine.state.reason}


@router.get(
    "/health/detailed",
    responses=_DETAILED,
    dependencies=[Depends(allow_operators)],
    summary="How healthy is each component?",
)
async def detailed(request: Request) -> Response:
    """Each component with its last error, and the targets with the values measured in the last five minutes.

    Open to all, or to administrators only: `QRERANK_OPERATIONS__ACCESS`.
    """
    report = await dependencies(request).health.report()
    status, headers = HTTPStatus.OK, {}
    if report.status == "unavailable":
        status, headers = HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": str(ERRORS[NotReady].retry_after_s)}
    return Response(orjson.dumps(respond(report)), status, headers, "application/json")
