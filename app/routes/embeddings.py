"""Embeddings, in OpenAI's shape."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.embeddings import check_count, check_dimensions, embed
from app.models import Models
from app.openapi import content, example, reference
from app.quotas.quotas import Cost
from app.routes.bodies import read_fields
from app.routes.observe import observed
from app.routes.problems import PROBLEMS
from app.routes.quotas import paid
from app.routes.work import worked
from app.wire.body import validate
from app.wire.embeddings import EmbeddingsBody, EmbeddingsResponse, respond
from retrieval.deadline import Deadline

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

    body = await paid(request, read, lambda body, _: Cost(len(body.input), len(body.input), "embedding"))
    deadline, seen = Deadline(), observed(request)  # there is none; it carries the news that the client left

    def work(models: Models) -> bytes:
        choice = models.choose(body.model)
        check_dimensions(body.dimensions, choice.reranker.encoder)
        with seen.watch("encode"):
            found = embed(choice.reranker, body.input, body.input_type or "document", deadline)
        seen.worked(len(body.input), found.tokens, model=choice.reranker.encoder.name)
        with seen.watch("serialise"):
            return orjson.dumps(respond(found, body, choice.name), option=orjson.OPT_SERIALIZE_NUMPY)

    return await worked(request, deadline, work, body.input, body.model)


MODELS: tuple[type[BaseModel], ...] = (EmbeddingsBody, EmbeddingsResponse)  # that the description refers to

_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: PROBLEMS[status] for status in (400, 401, 403, 413, 422, 429, 503)
}
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
