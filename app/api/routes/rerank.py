"""Reranking, in every dialect and on every path that clients call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from starlette.requests import HTTPConnection

from app.api.dependencies import caller, dependencies
from app.api.dialects.body import check_lists, fields_of
from app.api.dialects.cohere import RerankResponse, StandardBody
from app.api.dialects.dashscope import DashScopeBody, DashScopeResponse
from app.api.dialects.detect import PATHS, dialect_of
from app.api.dialects.mixedbread import MixedbreadBody, MixedbreadResponse
from app.api.dialects.nim import NimBody, NimResponse
from app.api.dialects.pinecone import PineconeBody, PineconeResponse
from app.api.dialects.tei import TeiBody, TeiRank
from app.api.dialects.voyage import VoyageBody, VoyageResponse
from app.api.exchange import answer, charged, parsed
from app.api.middleware.request_record import note, record_of
from app.api.openapi import content, example, one_of, reference
from app.api.problems import PROBLEMS, ProblemResponse
from app.errors import InvalidRequest
from app.service.request import RerankRequest, ResolvedRerank, resolve
from app.service.rerank import rerank as rank
from app.telemetry.request_record import RequestRecord

router: APIRouter = APIRouter(tags=["rerank"])


async def rerank(request: Request) -> Response:
    """Rank documents by their relevance to a query, best first.

    The body's fields decide its dialect, not the path. Without `documents`, the candidates are the nearest passages of
    a collection. A body without documents that has texts in a field of another name is refused.
    """
    return await ranked(request, partial(read, request))


async def ranked(request: Request, read_body: Callable[[], Awaitable[ResolvedRerank]]) -> Response:
    """The ranking of a request, in its dialect, once it is read and paid for."""
    deps, record = dependencies(request), record_of(request)
    resolved = await charged(request, read_body)

    def work() -> bytes:
        result = rank(resolved, deps.collections, record.request_id)
        note(record, result.done)
        with record.watch("serialise"):
            return orjson.dumps(request.state.dialect.respond(result))

    return await answer(request, resolved, work)


async def read(request: Request, *, partial_rankings: bool = False) -> ResolvedRerank:
    """Parse and resolve the request, and store its dialect. partial_rankings: whether they are reported."""
    deps, record = dependencies(request), record_of(request)

    def parse(body: bytes) -> RerankRequest:
        fields = fields_of(body)
        if not isinstance(fields, Mapping):
            raise InvalidRequest("the body must be a JSON object")
        check_lists(fields, deps.settings.limits.documents)
        dialect = dialect_of(fields, request.scope["route"].path, request.headers)
        request.state.dialect, record.dialect = dialect, dialect.name  # later errors need it, too
        return dialect.request(fields)

    return decided(request, await parsed(request, parse), record, partial_rankings=partial_rankings)


def decided(
    connection: HTTPConnection, asked: RerankRequest, record: RequestRecord, *, partial_rankings: bool = False
) -> ResolvedRerank:
    """What is decided about a parsed request, see `resolve`; its units are recorded."""
    deps, identity = dependencies(connection), connection.state.identity
    models, who = deps.engine.ready_models(), caller(connection)
    resolved = resolve(asked, models, deps.settings, who, identity, deps.feedback, partial_rankings=partial_rankings)
    record.units = resolved.cost.units
    return resolved


_BODIES = (StandardBody, TeiBody, VoyageBody, MixedbreadBody, PineconeBody, NimBody, DashScopeBody)
_RESPONSES = (RerankResponse, VoyageResponse, MixedbreadResponse, PineconeResponse, NimResponse, DashScopeResponse)
MODELS: tuple[type[BaseModel], ...] = (*_BODIES, *_RESPONSES, TeiRank)  # referenced by the OpenAPI description
_EXAMPLES = {body.__name__.removesuffix("Body").lower(): example(body) for body in _BODIES}
ANY_BODY = {"requestBody": {"required": True, **content(one_of(_BODIES), _EXAMPLES)}}
DIALECT_PROBLEMS = {  # also in the media type that DashScope's clients read
    status: described | {"content": described["content"] | content(reference(ProblemResponse))["content"]}
    for status, described in PROBLEMS.items()
}
_RESPONSE_SCHEMA = {"oneOf": [*one_of(_RESPONSES)["oneOf"], {"type": "array", "items": reference(TeiRank)}]}

for path in PATHS:
    router.add_api_route(
        path,
        rerank,
        methods=["POST"],
        summary="Rerank documents",
        responses=DIALECT_PROBLEMS
        | {200: {"description": "The ranking, in the dialect of the body.", **content(_RESPONSE_SCHEMA)}},
        openapi_extra=ANY_BODY,
    )
