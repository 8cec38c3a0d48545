"""Metrics."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse

from app.api.authorize import allow_operators
from app.api.dependencies import dependencies
from app.api.problems import PROBLEMS

metrics_router: APIRouter = APIRouter(tags=["operations"])  # unless they have a port of their own


@metrics_router.get(
    "/metrics",
    response_class=PlainTextResponse,
    dependencies=[Depends(allow_operators)],
    responses={status: PROBLEMS[status] for status in (401, 403, 503)},
    summary="What was done so far, for Prometheus",
)
async def metrics(request: Request) -> Response:
    """In Prometheus' text format, or in OpenMetrics' where that is asked for."""
    on = dependencies(request)
    on.gauges.publish()
    body, media_type = await asyncio.to_thread(on.metrics.render, request.headers.get("accept", ""))
    return Response(body, headers={"Content-Type": media_type})
