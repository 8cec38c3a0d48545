"""Reranking, in every dialect and on every path where clients look for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api.authorize import caller
from app.api.dialects.body import check_lists, fields_of, memory_of
from app.api.dialects.cohere import RerankResponse, StandardBody
from app.api.dialects.dashscope import DashScopeBody, DashScopeResponse
from app.api.dialects.detect import PATHS, Dialect, dialect_of
from app.api.dialects.mixedbread import MixedbreadBody, MixedbreadResponse
from app.api.dialects.nim import NimBody, NimResponse
from app.api.dialects.pinecone import PineconeBody, PineconeResponse
from app.api.dialects.tei import TeiBody, TeiRank
from app.api.dialects.voyage import VoyageBody, VoyageResponse
from app.api.middleware.request_record import observed
from app.api.openapi import content, example, one_of, reference
from app.api.problems import PROBLEMS, ProblemResponse
from app.api.rate_limit import paid
from app.api.request_body import is_small, read_body
from app.api.work import worked
from app.engine.model_registry import Models
from app.errors import InvalidRequest
from app.quotas.quotas import Cost
from app.ranking.methods import DEFAULT_METHOD
from app.service.cost import of_rerank
from app.service.request import RerankRequest
from app.service.rerank import Service, answer, check_limits, deadline_of
from app.settings import Settings

router: APIRouter = APIRouter(tags=["rerank"])


async def rerank(request: Request) -> Response:
    """Order documents by how well they answer a query, best first.

    The body's dialect is told by what it holds, not by the path. Without `documents`, the candidates are the nearest
    passages of a collection. A body without documents that holds texts in a field of another name is refused.
    """
    service: Service = request.app.state.service
    dialect, asked, cost = await read_request(request)
    deadline, seen = deadline_of(asked.deadline_ms, service.settings, caller(request)), observed(request)

    def work(models: Models) -> bytes:
        outcome = answer(models, asked, deadline, service, request.state.request_id)
        seen.ranked(outcome)
        with seen.watch("serialise"):
            return orjson.dumps(dialect.respond(outcome))

    return await worked(request, deadline, work, cost, asked.texts, asked.model)


async def read_request(request: Request, *, reported: bool = False) -> tuple[Dialect, RerankRequest, Cost]:
    """The body's dialect and what it asks for, within the limits and paid for, and what it costs."""
    settings = request.app.state.service.settings
    (dialect, asked), cost = await paid(
        request,
        observed(request),
        lambda: _read(request),
        lambda read, models: cost_of(read[1], models, settings, reported=reported),
    )
    return dialect, asked, cost


def cost_of(asked: RerankRequest, models: Models, settings: Settings, *, reported: bool) -> Cost:
    """What a request takes. reported: with every ranking on the way."""
    method = asked.method or models.choose(asked.model).method or DEFAULT_METHOD
    return of_rerank(asked, method, settings.limits, settings.candidates, reported=reported)


async def _read(request: Request) -> tuple[Dialect, RerankRequest]:
    """The body's dialect and what it asks for, within the limits. The dialect is kept for errors to come."""
    limits = request.app.state.service.settings.limits
    body = await read_body(request, limits)
    request.state.hold(memory_of(body))
    dialect, asked = parse(request, body) if is_small(body) else await asyncio.to_thread(parse, request, body)
    check_limits(asked, limits)
    return dialect, asked


def parse(request: Request, body: bytes) -> tuple[Dialect, RerankRequest]:
    """A body as a request; MalformedBody or InvalidRequest."""
    fields = fields_of(body)
    if not isinstance(fields, Mapping):
        raise InvalidRequest("the body must be a JSON object")
    check_lists(fields, request.app.state.service.settings.limits.documents)
    dialect = dialect_of(fields, request.url.path, request.headers)
    request.state.dialect, observed(request).dialect = dialect, dialect.name
    return dialect, dialect.request(fields)


_BODIES = (StandardBody, TeiBody, VoyageBody, MixedbreadBody, PineconeBody, NimBody, DashScopeBody)
_RESPONSES = (RerankResponse, VoyageResponse, MixedbreadResponse, PineconeResponse, NimResponse, DashScopeResponse)
MODELS: tuple[type[BaseModel], ...] = (*_BODIES, *_RESPONSES, TeiRank)  # that the description refers to
_EXAMPLES = {body.__name__.removesuffix("Body").lower(): example(body) for body in _BODIES}
ANY_BODY = {"requestBody": {"required": True, **content(one_of(_BODIES), _EXAMPLES)}}
DIALECT_PROBLEMS = {  # in the media type that the dialect's clients read
    status: described | {"content": described["content"] | content(reference(ProblemResponse))["content"]}
    for status, described in PROBLEMS.items()
}
_RANKED = {"oneOf": [*one_of(_RESPONSES)["oneOf"], {"type": "array", "items": reference(TeiRank)}]}

for path in PATHS:
    router.add_api_route(
        path,
        rerank,
        methods=["POST"],
        summary="Rerank documents",
        responses=DIALECT_PROBLEMS | {200: {"description": "In the dialect of the body.", **content(_RANKED)}},
        openapi_extra=ANY_BODY,
    )
