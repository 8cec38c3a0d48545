"""Reranking as a stream of events: the order at once, better ones as documents are read, then the answer."""

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
from app.api.exchange import cancelled_with
from app.api.middleware.request_record import note, record_of
from app.api.openapi import one_of
from app.api.problems import ProblemResponse, problem_of, unforeseen
from app.api.rate_limit import charged
from app.api.routes.rerank import ANY_BODY, DIALECT_PROBLEMS, read
from app.service.collections import OpenCollections
from app.service.request import ResolvedRerank
from app.service.rerank import rerank
from app.service.streaming import Report, Reports, follow
from app.telemetry.request_record import CLIENT_GONE, RequestRecord

T = TypeVar("T")
Tell = Callable[[str, Mapping[str, Any]], T]  # an event's kind and fields as it goes over the wire

log = logging.getLogger(__name__)
router = APIRouter(tags=["rerank"])

_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # the second tells nginx to pass events on at once


def work_of(
    resolved: ResolvedRerank, collections: OpenCollections, record: RequestRecord, tell: Tell[T]
) -> Callable[[Report[T]], T]:
    """The work of a request that reports every partial ranking. Runs in a worker, as does `tell`."""

    def work(report: Report[T]) -> T:
        result = rerank(resolved, collections, record.request_id, lambda partial: report(tell("order", order(partial))))
        note(record, result.done)
        with record.watch("serialise"):
            return tell("final", respond(result))

    return work


def problem(error: Exception, record: RequestRecord) -> dict[str, Any]:
    """The members of the problem that an error means which came too late for a response of its own."""
    found = problem_of(error, record.request_id)
    if found is None:
        log.error("in a stream", exc_info=error)  # as the server does with what a route raises
        found = unforeseen(error, record.request_id)
    record.failed(found.status, found.kind)
    return found.body()


def _numbered() -> Tell[bytes]:
    """Events with ids 1, 2, 3, …: a reader sees by a gap that it was too slow for some."""
    numbers = count(1)

    def tell(kind: str, fields: Mapping[str, Any]) -> bytes:
        return format_sse_event(event=kind, data_str=orjson.dumps(fields).decode(), id=str(next(numbers)))

    return tell


async def _reports(request: Request) -> AsyncIterator[Reports[bytes]]:
    """The events of the request, until its response is sent or its client leaves."""
    on, record, tell = dependencies(request), record_of(request), _numbered()
    reading = partial(read, request, partial=True)
    resolved = await (charged(request, reading) if on.auth else reading())
    work = work_of(resolved, on.collections, record, tell)
    async with (
        cancelled_with(request, resolved.deadline),
        follow(
            lambda report: on.engine.run(partial(work, report), resolved, record.watch),
            resolved.deadline,
            lambda error: tell("error", problem(error, record)),
        ) as reports,
    ):
        yield reports


async def stream(reports: Annotated[Reports[bytes], Depends(_reports)]) -> Response:
    """Order documents as `/rerank` does, and tell the order at every stage.

    At once the order by words alone, which needs no model; then a better one each time that more documents were read;
    then what `/rerank` answers, in the standard envelope whatever the body's dialect, and the end. An error before the
    first event is a response as from `/rerank`; after it an `error` event, and the end.
    """
    if not await reports.begin():
        return Response(status_code=CLIENT_GONE)
    return EventSourceResponse(reports, headers=_HEADERS)


MODELS: tuple[type[BaseModel], ...] = (Order,)  # that the description refers to
_EXAMPLE = "".join(
    f"event: {kind}\ndata: {data}\nid: {at}\n\n"
    for at, (kind, data) in enumerate(
        (
            ("order", '{"stage":"prescore","results":[{"index":2,"relevance_score":0.53}],"encoded":0}'),
            ("order", '{"stage":"refined","results":[{"index":0,"relevance_score":0.84}],"encoded":8}'),
            ("final", '{"id":"…","object":"rerank","model":"…","results":[…],"meta":{…},"usage":{…}}'),
        ),
        start=1,
    )
)
_EVENT = {  # as FastAPI describes those of generators
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
    summary="Rerank documents, with every order on the way",
    response_class=StreamingResponse,  # FastAPI would take the class for events for the mark of a generator
    responses=DIALECT_PROBLEMS
    | {200: {"description": "Events.", "content": {"text/event-stream": {"itemSchema": _EVENT, "example": _EXAMPLE}}}},
    openapi_extra=ANY_BODY,
)
