"""Embeddings in OpenAI's format."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api.dependencies import caller, dependencies
from app.api.dialects.body import check_lists, fields_of, validate
from app.api.dialects.openai_embeddings import EmbeddingsBody, EmbeddingsResponse, respond
from app.api.exchange import answer, charged, parsed
from app.api.middleware.request_record import note, record_of
from app.api.openapi import content, example, reference
from app.api.problems import PROBLEMS, problems
from app.service.embeddings import embed, resolve
from app.service.request import ResolvedRequest
from app.service.result import WorkDone

router = APIRouter(tags=["embeddings"])

PATHS = ("/embeddings", "/v1/embeddings")


async def embeddings(request: Request) -> Response:
    """Embed texts as vectors of length 1; the `classical` method uses their cosines.

    A text longer than the model's context, `max_tokens` in `/v1/models`, is truncated without an error (/rerank and
    /similarity read it in chunks). An empty text is embedded like any other.
    """

    async def read() -> ResolvedRequest[EmbeddingsBody]:
        deps = dependencies(request)
        most = deps.settings.limits.documents
        body = await parsed(request, lambda raw: validate(EmbeddingsBody, check_lists(fields_of(raw), most)))
        resolved = resolve(body, deps.engine.ready_models(), deps.settings, caller(request))
        record_of(request).units = resolved.cost.units
        return resolved

    record = record_of(request)
    resolved = await charged(request, read)
    body, reranker = resolved.asked, resolved.choice.reranker

    def work() -> bytes:
        with record.watch("encode"):
            result = embed(reranker, resolved.texts, body.input_type or "document", resolved.deadline)
        note(record, WorkDone(len(resolved.texts), result.tokens, reranker.encoder.name))
        with record.watch("serialise"):
            return orjson.dumps(respond(result, body, resolved.choice.name), option=orjson.OPT_SERIALIZE_NUMPY)

    return await answer(request, resolved, work)


MODELS: tuple[type[BaseModel], ...] = (EmbeddingsBody, EmbeddingsResponse)  # referenced by the OpenAPI description

_RESPONSES = problems(400, 401, 403, 408, 413, 422, 429, 503)
_RESPONSES[504] = PROBLEMS[504] | {"description": "Not all texts were embedded by the longest deadline."}
_RESPONSES[200] = {"description": "One vector per text, in their order.", **content(reference(EmbeddingsResponse))}

for path in PATHS:
    router.add_api_route(
        path,
        embeddings,
        methods=["POST"],
        summary="Embed texts",
        responses=_RESPONSES,
        openapi_extra={
            "requestBody": {
                "required": True,
                **content(reference(EmbeddingsBody), {"openai": example(EmbeddingsBody)}),
            }
        },
    )
