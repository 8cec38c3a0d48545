"""Reranking as a stream of events: the order at once, better ones as documents are read, then the answer."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from itertools import count
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.sse import EventSourceResponse, format_sse_event
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from app.api.authorize import caller
from app.api.dialects.cohere import RerankResponse, respond
from app.api.dialects.events import Order, order
from app.api.disconnect import cancelled_with
from app.api.middleware.request_record import observed, queued
from app.api.openapi import one_of
from app.api.problems import ProblemResponse, problem_of, unforeseen
from app.api.routes.rerank import ANY_BODY, DIALECT_PROBLEMS, read_request
from app.engine.model_registry import Models
from app.service.request import RerankRequest
from app.service.rerank import Service, answer, deadline_of
from app.service.result import Outcome
from app.service.streaming import Report, Reports, follow
from app.telemetry.request_record import CLIENT_GONE, Observed
from retrieval.deadline import Deadline

T = TypeVar("T")
Tell = Callable[[str, Mapping[str, Any]], T]  # an event's kind and fields as it goes over the wire

log = logging.getLogger(__name__)
router = APIRouter(tags=["rerank"])

_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # the second tells nginx to pass events on at once


def work_of(
    asked: RerankRequest, deadline: Deadline, service: Service, tell: Tell[T], seen: Observed
) -> Callable[[Models, Report[T]], T]:
    """The work of answering a request, which tells of every order on the way. Runs in a worker, as does `tell`."""

    def work(models: Models, report: Report[T]) -> T:
        def on_the_way(outcome: Outcome) -> None:
            report(tell("order", order(outcome)))

        outcome = answer(models, asked, deadline, service, seen.request_id, on_the_way)
        seen.ranked(outcome)
        with seen.watch("serialise"):
            return tell("final", respond(outcome))

    return work


def problem(error: Exception, seen: Observed) -> dict[str, Any]:
    """The members of the problem that an error means which came too late for a response of its own."""
    found = problem_of(error, seen.request_id)
    if found is None:
        log.error("in a stream", exc_info=error)  # as the server does with what a route raises
        found = unforeseen(error, seen.request_id)
    seen.failed(found.status, found.kind)
    return found.body()


def _numbered() -> Tell[bytes]:
    """Events with ids 1, 2, 3, …: a reader sees by a gap that it was too slow for some."""
    numbers = count(1)

    def tell(kind: str, fields: Mapping[str, Any]) -> bytes:
        return format_sse_event(event=kind, data_str=orjson.dumps(fields).decode(), id=str(next(numbers)))

    return tell


async def _reports(request: Request) -> AsyncIterator[Reports[bytes]]:
    """The events of the request, until its response is sent or its client leaves."""
    service: Service = request.app.state.service
    seen = observed(request)
    _, asked, cost = await read_request(request, reported=True)
    deadline, tell = deadline_of(asked.deadline_ms, service.settings, caller(request)), _numbered()
    work = queued(seen, work_of(asked, deadline, service, tell, seen))
    engine = request.app.state.engine
    async with (
        cancelled_with(request, deadline),
        follow(
            lambda report: engine.run(
                lambda models: work(models, report), asked.texts, deadline, asked.model, cost.units
            ),
            deadline,
            lambda error: tell("error", problem(error, seen)),
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
