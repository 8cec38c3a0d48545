"""Health and metrics."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from app.errors import NotReady
from app.routes.problems import PROBLEMS

router: APIRouter = APIRouter(tags=["operations"])


@router.get("/health", summary="Is the process alive?")
async def health() -> dict[str, str]:
    """Answers as long as the event loop turns."""
    return {"status": "alive"}


@router.get("/health/ready", responses={503: PROBLEMS[503]}, summary="Can it serve?")
async def ready(request: Request) -> dict[str, str]:
    """200 once the models are loaded and have reranked a probe; 503 with the reason until then."""
    state = request.app.state.engine.state
    if state.phase != "ready":
        raise NotReady(state.reason)
    return {"status": state.phase, "reason": state.reason}


@router.get("/metrics", response_class=PlainTextResponse, summary="What was done so far, for Prometheus")
async def metrics(request: Request) -> Response:
    """In Prometheus' text format, or in OpenMetrics' where that is asked for."""
    state = request.app.state
    state.collected.publish()
    body, media_type = await asyncio.to_thread(state.metrics.render, request.headers.get("accept", ""))
    return Response(body, headers={"Content-Type": media_type})
