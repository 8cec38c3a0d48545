"""Whether the service lives, whether it can serve, and how each part of it is."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import orjson
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from app.api.authorize import allow_operators
from app.api.dependencies import dependencies
from app.api.dialects.health import HealthResponse, respond
from app.api.openapi import content, reference
from app.api.problems import PROBLEMS, RETRY_AFTER_S
from app.errors import NotReady

router: APIRouter = APIRouter(tags=["operations"])

MODELS: tuple[type[BaseModel], ...] = (HealthResponse,)  # that the description refers to
_DETAILED: dict[int | str, dict[str, Any]] = {
    200: {"description": "The service serves.", **content(reference(HealthResponse))},
    503: {"description": "It does not; see Retry-After.", **content(reference(HealthResponse))},
    **{status: PROBLEMS[status] for status in (401, 403)},
}


@router.get("/health", summary="Is the process alive?")
async def health() -> dict[str, str]:
    """Answers as long as the event loop turns."""
    return {"status": "alive"}


@router.get("/health/ready", responses={503: PROBLEMS[503]}, summary="Can it serve?")
async def ready(request: Request) -> dict[str, str]:
    """200 while the models rerank a probe in time and the default collection is sound; 503 with the reason otherwise.

    What the last probe found is remembered for a few seconds. An overload does not make the service unready.
    """
    on = dependencies(request)
    if wrong := await on.health.wrong():
        raise NotReady(wrong)
    return {"status": on.engine.state.phase, "reason": on.engine.state.reason}


@router.get(
    "/health/detailed", responses=_DETAILED, dependencies=[Depends(allow_operators)], summary="How is each part?"
)
async def detailed(request: Request) -> Response:
    """Each component with its last error, and the product's targets beside what the last five minutes were like.

    Open, or for administrators: `QRERANK_OPERATIONS__ACCESS`.
    """
    report = await dependencies(request).health.report()
    status, headers = HTTPStatus.OK, {}
    if report.status == "unavailable":
        status, headers = HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": str(RETRY_AFTER_S[NotReady])}
    return Response(orjson.dumps(respond(report)), status, headers, "application/json")
