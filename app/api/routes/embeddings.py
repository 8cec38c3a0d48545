"""Embeddings, in OpenAI's shape."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api.authorize import caller
from app.api.dependencies import dependencies
from app.api.dialects.body import fields_of, validate
from app.api.dialects.openai_embeddings import EmbeddingsBody, EmbeddingsResponse, respond
from app.api.exchange import answer, parsed
from app.api.middleware.request_record import note, record_of
from app.api.openapi import content, example, reference
from app.api.problems import PROBLEMS
from app.api.rate_limit import charged
from app.service.embeddings import embed, resolve
from app.service.request import ResolvedRequest
from app.service.result import WorkDone

router = APIRouter(tags=["embeddings"])

PATHS = ("/embeddings", "/v1/embeddings")


async def embeddings(request: Request) -> Response:
    """The vectors of texts, each of length 1: those whose cosines `classical` is made of.

    A text longer than the model reads at once, `max_tokens` in `/v1/models`, is cut there without an error (/rerank and
    /similarity read it in chunks). An empty text is embedded like any other.
    """

    async def read() -> ResolvedRequest[EmbeddingsBody]:
        on = dependencies(request)
        most = on.settings.limits.documents
        body = await parsed(request, lambda raw: validate(EmbeddingsBody, fields_of(raw, most)))
        resolved = resolve(body, on.engine.ready_models(), on.settings, caller(request))
        record_of(request).units = resolved.cost.units
        return resolved

    on, record = dependencies(request), record_of(request)
    resolved = await (charged(request, read) if on.auth else read())
    asked, reranker = resolved.asked, resolved.choice.reranker

    def work() -> bytes:
        with record.watch("encode"):
            found = embed(reranker, resolved.texts, asked.input_type or "document", resolved.deadline)
        note(record, WorkDone(len(resolved.texts), found.tokens, reranker.encoder.name))
        with record.watch("serialise"):
            return orjson.dumps(respond(found, asked, resolved.choice.name), option=orjson.OPT_SERIALIZE_NUMPY)

    return await answer(request, resolved, work)


MODELS: tuple[type[BaseModel], ...] = (EmbeddingsBody, EmbeddingsResponse)  # that the description refers to

_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: PROBLEMS[status] for status in (400, 401, 403, 413, 422, 429, 503)
}
_RESPONSES[504] = PROBLEMS[503] | {"description": "Not all was embedded by the longest deadline."}
_RESPONSES[200] = {"description": "A vector for each text, in their order.", **content(reference(EmbeddingsResponse))}

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
