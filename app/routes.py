"""The routes: reranking, health and metrics."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from app.answer import answer, check_limits, deadline_of
from app.errors import NotReady, TooLarge
from app.schemas import ProblemResponse, RerankRequest, RerankResponse, parse
from retrieval.deadline import Cancelled, Deadline

router = APIRouter()

_INLINE_BYTES = 2**16  # a larger body is parsed in a thread, since parsing holds up the loop for a millisecond or more
_CLIENT_GONE = 499  # nginx's status for a request whose client left
_DRAINED_BYTES = 2**26  # a client that sends so much more than the limit finds its connection closed
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemResponse, "description": text}
    for status, text in {
        400: "The body is not JSON.",
        404: "There is no such collection.",
        413: "The body, or a count in it, is over a limit.",
        422: "The JSON is not a request.",
        503: "Not ready, or too busy; see Retry-After.",
    }.items()
}
_BODY = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": RerankRequest.model_json_schema()}}}
}


async def read_body(request: Request, limit: int) -> bytes:
    """The request's body; TooLarge if it is over the limit, with none of it kept.

    What comes after it is read and dropped, up to a bound: most clients read no answer before they have sent all.
    """
    body = bytearray()
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit + _DRAINED_BYTES:
            break
        if size > limit:
            body.clear()
        else:
            body += chunk
    if size > limit:
        raise TooLarge(f"the body is larger than the {limit} bytes that are taken; send fewer or shorter documents")
    return bytes(body)


@router.post(
    "/rerank", response_model=RerankResponse, responses=_PROBLEMS, openapi_extra=_BODY, summary="Rerank documents"
)
@router.post(
    "/v1/rerank", response_model=RerankResponse, responses=_PROBLEMS, openapi_extra=_BODY, include_in_schema=False
)
@router.post(
    "/v2/rerank", response_model=RerankResponse, responses=_PROBLEMS, openapi_extra=_BODY, include_in_schema=False
)
async def rerank(request: Request) -> Response:
    """Order documents by how well they answer a query, best first.

    Without `documents`, the candidates are the nearest passages of a collection.
    """
    service = request.app.state
    body = await read_body(request, service.settings.limits.body_bytes)
    parsed = parse(body) if len(body) <= _INLINE_BYTES else await asyncio.to_thread(parse, body)
    check_limits(parsed, service.settings)
    deadline = deadline_of(parsed, service.settings)
    work = partial(
        answer,
        request=parsed,
        deadline=deadline,
        settings=service.settings,
        collections=service.collections,
        request_id=request.state.request_id,
    )
    watcher = asyncio.create_task(_cancel_when_gone(request, deadline))
    try:
        return Response(await service.engine.run(work), media_type="application/json")
    except Cancelled:
        return Response(status_code=_CLIENT_GONE)  # for the access log; nobody reads it
    finally:
        watcher.cancel()


async def _cancel_when_gone(request: Request, deadline: Deadline) -> None:
    """Call the work off when the client disconnects."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    deadline.cancel()


@router.get("/health", summary="Is the process alive?")
async def health() -> dict[str, str]:
    """Answers as long as the event loop turns."""
    return {"status": "alive"}


@router.get("/health/ready", responses={503: {"model": ProblemResponse}}, summary="Can it serve?")
async def ready(request: Request) -> dict[str, str]:
    """200 once the model is loaded and has reranked a probe; 503 with the reason until then."""
    state = request.app.state.engine.state
    if state.phase != "ready":
        raise NotReady(state.reason)
    return {"status": state.phase, "reason": state.reason}


@router.get("/metrics", response_class=PlainTextResponse, summary="What was done so far, for Prometheus")
async def metrics(request: Request) -> Response:
    """Counters and gauges in Prometheus' text format."""
    return Response(request.app.state.metrics.render(), media_type=CONTENT_TYPE_LATEST)
