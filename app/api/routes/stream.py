"""Reranking as server-sent events: a first ranking at once, partial rankings as documents are encoded, the result."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from itertools import count
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.sse import EventSourceResponse, format_sse_event
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from app.api.dependencies import dependencies
from app.api.dialects.cohere import RerankResponse, respond
from app.api.dialects.events import Order, order
from app.api.exchange import cancelled_with, charged
from app.api.middleware.request_record import note, record_of
from app.api.openapi import one_of
from app.api.problems import ProblemResponse, problem_of, unforeseen
from app.api.routes.rerank import ANY_BODY, DIALECT_PROBLEMS, read
from app.service.collections import OpenCollections
from app.service.request import ResolvedRerank
from app.service.rerank import rerank
from app.service.streaming import Report, Reports, follow
from app.telemetry.request_record import CLIENT_GONE, RequestRecord

T = TypeVar("T")
Serialize = Callable[[str, Mapping[str, Any]], T]  # an event's kind and fields to its form on the wire

log = logging.getLogger(__name__)
router = APIRouter(tags=["rerank"])

SSE_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # the second header disables nginx's buffering


def work_of(
    resolved: ResolvedRerank, collections: OpenCollections, record: RequestRecord, serialize: Serialize[T]
) -> Callable[[Report[T]], T]:
    """The work of a request, which reports every partial ranking. Runs in a worker thread, as does `serialize`."""

    def work(report: Report[T]) -> T:
        result = rerank(
            resolved, collections, record.request_id, lambda partial: report(serialize("order", order(partial)))
        )
        note(record, result.done)
        with record.watch("serialise"):
            return serialize("final", respond(result))

    return work


def problem(error: Exception, record: RequestRecord) -> dict[str, Any]:
    """The problem's members for an error after the response has started."""
    details = problem_of(error, record.request_id, record.root_path)
    if details is None:
        log.error("unexpected error in a stream", exc_info=error)  # as the server logs a route's exceptions
        details = unforeseen(error, record.request_id, record.root_path)
    record.failed(details.status, details.kind)
    return details.body()


def _sse_serializer() -> Serialize[bytes]:
    """Serialize events with ids 1, 2, 3, …; a gap shows a reader that it was too slow for some."""
    numbers = count(1)

    def serialize(kind: str, fields: Mapping[str, Any]) -> bytes:
        return format_sse_event(event=kind, data_str=orjson.dumps(fields).decode(), id=str(next(numbers)))

    return serialize


async def _reports(request: Request) -> AsyncIterator[Reports[bytes]]:
    """The events of the request, until its response is sent or its client disconnects."""
    deps, record, serialize = dependencies(request), record_of(request), _sse_serializer()
    read_body = partial(read, request, partial_rankings=True)
    resolved = await charged(request, read_body)
    work = work_of(resolved, deps.collections, record, serialize)
    async with (
        cancelled_with(request, resolved.deadline),
        follow(
            lambda report: deps.engine.run(partial(work, report), resolved, record.watch),
            resolved.deadline,
            lambda error: serialize("error", problem(error, record)),
        ) as reports,
    ):
        yield reports


async def stream(reports: Annotated[Reports[bytes], Depends(_reports)]) -> Response:
    """Rank documents as `/rerank` does, with a partial ranking at every stage.

    The first event is the ranking by BM25, which needs no model. A better ranking follows each time that more documents
    were encoded. The last event is the response of `/rerank`, in the standard envelope whatever the body's dialect. An
    error before the first event is a response as from `/rerank`; a later one is a final `error` event.
    """
    if not await reports.begin():
        return Response(status_code=CLIENT_GONE)
    return EventSourceResponse(reports, headers=SSE_HEADERS)


MODELS: tuple[type[BaseModel], ...] = (Order,)  # referenced by the OpenAPI description
_EXAMPLE = "".join(
    f"event: {kind}\ndata: {data}\nid: {number}\n\n"
    for number, (kind, data) in enumerate(
        (
            ("order", '{"stage":"prescore","results":[{"index":2,"relevance_score":0.53}],"encoded":0}'),
            ("order", '{"stage":"refined","results":[{"index":0,"relevance_score":0.84}],"encoded":8}'),
            ("final", '{"id":"…","object":"rerank","model":"…","results":[…],"meta":{…},"usage":{…}}'),
        ),
        start=1,
    )
)
_EVENT = {  # the schema that FastAPI generates for generators
    "type": "object",
    "properties": {
        "event": {"enum": ["order", "final", "error"]},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": one_of((Order, RerankResponse, ProblemResponse)),
        },
        "id": {"type": "string"},
    },
}

router.add_api_route(
    "/v1/rerank/stream",
    stream,
    methods=["POST"],
    summary="Rerank documents, with partial rankings",
    response_class=StreamingResponse,  # with EventSourceResponse, FastAPI would expect a generator
    responses=DIALECT_PROBLEMS
    | {200: {"description": "Events.", "content": {"text/event-stream": {"itemSchema": _EVENT, "example": _EXAMPLE}}}},
    openapi_extra=ANY_BODY,
)
