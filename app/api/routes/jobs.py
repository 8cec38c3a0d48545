"""Jobs of collections: what is written to a collection, and how far it is until a search finds it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from app.api.dependencies import caller, dependencies, still_allowed
from app.api.dialects.jobs import JobListResponse, JobResponse, describe_job
from app.api.exchange import as_json
from app.api.middleware.request_record import record_of
from app.api.openapi import one_of
from app.api.problems import ProblemResponse, problems
from app.api.routes.collections import ONE, PARAMETERS, add_route, in_thread, named
from app.api.routes.stream import SSE_HEADERS, problem
from app.errors import Overloaded, ServiceError, UnknownJob
from app.service.collection_check import check_visible
from app.service.ingestion import Ingestion
from app.settings import is_collection_name
from retrieval.store.collection import Collection
from retrieval.store.jobs import Job

_LISTED = 100
_LOOK_EVERY_S = 0.5
_BEAT_EVERY_S = 15.0  # the longest silence, so that no proxy closes the connection

reading, writing = APIRouter(tags=["collections"]), APIRouter(tags=["collections"])  # by the role that they need


async def list_jobs(request: Request) -> Response:
    """The newest 100 jobs of a collection, the newest first."""
    name, found = await named(request)
    jobs = await in_thread(request, Ingestion.jobs, found, _LISTED)
    return as_json({"object": "list", "data": [describe_job(name, job) for job in jobs]})


async def compact(request: Request) -> Response:
    """Merge all segments of a collection into one, and give back the space of deleted documents: a job."""
    name, found = await named(request)
    return as_json(describe_job(name, await in_thread(request, Ingestion.compact, found)))


async def get_job(request: Request) -> Response:
    """How far a job is. Every worker answers the same, also after a restart."""
    name, key = _parts(request)
    return as_json(describe_job(name, await in_thread(request, Ingestion.job, name, key)))


async def _followed(request: Request) -> AsyncIterator[AsyncIterator[bytes]]:
    """The events of a job, until its response is sent or its client disconnects."""
    name, key = _parts(request)
    collection = await in_thread(request, Ingestion.find, name)
    job = await in_thread(request, Ingestion.job, collection, key)
    with _place(request):
        yield _events(request, name, collection, job)


async def follow(events: Annotated[AsyncIterator[bytes], Depends(_followed)]) -> Response:
    """Follow a job as server-sent events: its state now, each time it changes, and at its end."""
    return EventSourceResponse(events, headers=SSE_HEADERS)


@contextmanager
def _place(request: Request) -> Iterator[None]:
    """One of the places for clients that follow jobs; Overloaded if there is none."""
    followers, who = dependencies(request).job_followers, caller(request)
    if not followers.take(who, 1):
        raise Overloaded("too many clients follow jobs; ask for its state now and then instead")
    try:
        yield
    finally:
        followers.give(who, 1)


async def _events(request: Request, name: str, collection: Collection, job: Job) -> AsyncIterator[bytes]:
    """The states of a job, one event each; the service's end is an end, too: the client asks again.

    name: of the collection, as the request calls it.
    """
    engine, shown, told_at = dependencies(request).engine, None, time.monotonic()
    while True:
        fields = describe_job(name, job)
        state = fields | {"seconds_left": None}  # the estimate alone is no news
        if state != shown:
            shown, told_at = state, time.monotonic()
            yield format_sse_event(event=fields["status"], data_str=orjson.dumps(fields).decode())
        elif time.monotonic() >= told_at + _BEAT_EVERY_S:
            told_at = time.monotonic()
            yield KEEPALIVE_COMMENT
        if job.status != "running" or engine.stops:
            return
        await asyncio.sleep(_LOOK_EVERY_S)
        try:
            await still_allowed(request)
            job = await in_thread(request, Ingestion.job, collection, job.key)
        except ServiceError as error:  # the collection was deleted, or cannot be read
            fault = orjson.dumps(problem(error, record_of(request))).decode()
            yield format_sse_event(event="error", data_str=fault)
            return


def _parts(request: Request) -> tuple[str, str]:
    """The collection and the key of the job in the path; UnknownJob if it can be none."""
    name, _, key = request.path_params["job"].rpartition(".")
    if not is_collection_name(name):
        raise UnknownJob("there is no such job; its id is in the answer to what began it")
    check_visible(request.state.identity, name)
    return name, key


MODELS: tuple[type[BaseModel], ...] = (JobListResponse, JobResponse)  # referenced by the OpenAPI description

_JOB = "/v1/jobs/{job}"
add_route(reading, "GET", ONE + "/jobs", list_jobs, "List the jobs of a collection", JobListResponse)
add_route(writing, "POST", ONE + "/compact", compact, "Merge all segments into one", JobResponse)
add_route(reading, "GET", _JOB, get_job, "Describe a job", JobResponse)
_EXAMPLE = """event: running
data: {"object":"job","id":"papers.5f1d","collection":"papers","status":"running","total":1000,"done":256,…}

event: done
data: {"object":"job","id":"papers.5f1d","collection":"papers","status":"done","total":1000,"done":1000,…}

"""
_EVENT = {
    "type": "object",
    "properties": {
        "event": {"enum": ["running", "done", "failed", "error"]},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": one_of((JobResponse, ProblemResponse)),
        },
    },
}
_RESPONSES = problems(400, 401, 404, 422, 503)
_RESPONSES[200] = {
    "description": "Events.",
    "content": {"text/event-stream": {"itemSchema": _EVENT, "example": _EXAMPLE}},
}
reading.add_api_route(
    _JOB + "/events",
    follow,
    methods=["GET"],
    summary="Follow a job",
    response_class=StreamingResponse,  # with EventSourceResponse, FastAPI would expect a generator
    responses=_RESPONSES,
    openapi_extra={"parameters": [PARAMETERS["job"]]},
)
