"""Prometheus metrics."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse

from app.api.dependencies import allow_operators, dependencies
from app.api.problems import problems

metrics_router: APIRouter = APIRouter(tags=["operations"])  # not included if metrics have a port of their own


@metrics_router.get(
    "/metrics",
    response_class=PlainTextResponse,
    dependencies=[Depends(allow_operators)],
    responses=problems(401, 403, 503),
    summary="Prometheus metrics",
)
async def metrics(request: Request) -> Response:
    """The metrics in Prometheus' text format, or in OpenMetrics if the Accept header requests it."""
    deps = dependencies(request)
    deps.gauges.publish()
    body, media_type = await asyncio.to_thread(deps.metrics.render, request.headers.get("accept", ""))
    return Response(body, headers={"Content-Type": media_type})
