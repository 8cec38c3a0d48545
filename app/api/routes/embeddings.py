"""Embeddings, in OpenAI's shape."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api.authorize import caller
from app.api.dialects.body import validate
from app.api.dialects.openai_embeddings import EmbeddingsBody, EmbeddingsResponse, respond
from app.api.middleware.request_record import observed
from app.api.openapi import content, example, reference
from app.api.problems import PROBLEMS
from app.api.rate_limit import paid
from app.api.request_body import read_fields
from app.api.work import worked
from app.engine.model_registry import Models
from app.service.cost import of_embeddings
from app.service.embeddings import check_count, check_dimensions, embed
from app.service.rerank import deadline_of

router = APIRouter(tags=["embeddings"])

PATHS = ("/embeddings", "/v1/embeddings")


async def embeddings(request: Request) -> Response:
    """The vectors of texts, each of length 1: those whose cosines `classical` is made of.

    A text longer than the model reads at once, `max_tokens` in `/v1/models`, is cut there without an error (/rerank and
    /similarity read it in chunks). An empty text is embedded like any other.
    """

    async def read() -> EmbeddingsBody:
        body = validate(EmbeddingsBody, await read_fields(request))
        check_count(body.input, request.app.state.service.settings.limits)
        return body

    seen = observed(request)
    body, cost = await paid(request, seen, read, lambda body, _: of_embeddings(body.input))
    deadline = deadline_of(0, request.app.state.service.settings, caller(request))

    def work(models: Models) -> bytes:
        choice = models.choose(body.model)
        check_dimensions(body.dimensions, choice.reranker.encoder)
        with seen.watch("encode"):
            found = embed(choice.reranker, body.input, body.input_type or "document", deadline)
        seen.worked(len(body.input), found.tokens, model=choice.reranker.encoder.name)
        with seen.watch("serialise"):
            return orjson.dumps(respond(found, body, choice.name), option=orjson.OPT_SERIALIZE_NUMPY)

    return await worked(request, deadline, work, cost, body.input, body.model)


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
