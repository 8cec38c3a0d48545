"""Which tokens of documents a query's tokens met: the quantum score, taken apart."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api.dependencies import caller, dependencies
from app.api.dialects.body import check_lists, fields_of, validate
from app.api.dialects.matches import MatchesBody, MatchesResponse, respond
from app.api.exchange import answer, charged, parsed
from app.api.middleware.request_record import note, record_of
from app.api.openapi import content, example, reference
from app.api.problems import problems
from app.engine.admission import PIECE
from app.errors import InvalidRequest, TooLarge
from app.service.result import WorkDone
from app.service.similarity import ResolvedPairs, resolve

router = APIRouter(tags=["similarity"])

_MOST_PIECES = 128  # the answer names each token: a thousand long documents would be hundreds of megabytes

MODELS: tuple[type[BaseModel], ...] = (MatchesBody, MatchesResponse)  # referenced by the OpenAPI description
_RESPONSES = problems(400, 401, 403, 408, 413, 422, 429, 503)
_RESPONSES[200] = {"description": MatchesResponse.__doc__, **content(reference(MatchesResponse))}


@router.post(
    "/v1/matches",
    summary="Which tokens match",
    responses=_RESPONSES,
    openapi_extra={
        "requestBody": {"required": True, **content(reference(MatchesBody), {"example": example(MatchesBody)})}
    },
)
async def matches(request: Request) -> Response:
    """For each token of each document, the query's token that it matches best by fidelity, and the reverse.

    The mean of the query's best fidelities is the document's `quantum` score, where one chunk holds the document and
    the model adds no tokens of its own to the query.
    """
    record = record_of(request)
    resolved = await charged(request, lambda: _read(request))

    def work() -> bytes:
        reranker = resolved.choice.reranker
        [query] = resolved.queries
        found = reranker.token_matches(query, resolved.texts, reading=resolved.reading, deadline=resolved.deadline)
        note(record, WorkDone(len(resolved.texts), None, reranker.encoder.name, resolved.method))
        with record.watch("serialise"):
            return orjson.dumps(respond(found, resolved.choice.name, record.request_id))

    return await answer(request, resolved, work)


async def _read(request: Request) -> ResolvedPairs[MatchesBody]:
    deps = dependencies(request)
    limits, models = deps.settings.limits, deps.engine.ready_models()
    body = await parsed(request, lambda raw: validate(MatchesBody, check_lists(fields_of(raw), limits.documents)))
    resolved = resolve(body, [body.query], body.texts(), models, deps.settings, caller(request), explain=False)
    if (pieces := resolved.cost.units) > _MOST_PIECES:
        raise TooLarge(
            f"the texts have {pieces} pieces of up to {PIECE} characters and at most {_MOST_PIECES} are compared"
        )
    encoder = resolved.choice.reranker.encoder
    if encoder.granularity != "token":
        raise InvalidRequest(f"model: {encoder.name} gives one vector for a whole text, and none for a token")
    record_of(request).units = resolved.cost.units
    return resolved
