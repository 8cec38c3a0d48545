"""The served models, in the formats that clients of other servers request before they rerank."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from app import version
from app.api.dependencies import dependencies
from app.api.problems import problems
from app.engine.engine import Choice, ModelRegistry

router: APIRouter = APIRouter(tags=["models"])
open_router: APIRouter = APIRouter(
    tags=["models"]
)  # without authentication: some clients call these before they send a key


def _models(request: Request) -> ModelRegistry:
    return dependencies(request).engine.ready_models()


@open_router.get("/info", responses=problems(503), summary="The model and its limits (TEI)")
async def info(request: Request) -> dict[str, Any]:
    """The model and its limits in the format of Hugging Face's text-embeddings-inference."""
    settings = dependencies(request).settings
    reranker = _models(request).default
    encoder, cross = reranker.encoder, reranker.cross
    return {
        "model_id": encoder.name,
        "model_sha": encoder.digest,
        "model_dtype": encoder.arithmetic,
        "granularity": encoder.granularity,
        "late_interaction": encoder.late_interaction,
        "cross_encoder": cross
        and {"model_id": cross.encoder.name, "model_sha": cross.encoder.digest, "top_k": cross.top_k},
        "parameters": settings.parameters.name if settings.parameters else None,
        "model_type": {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}},
        "max_concurrent_requests": settings.engine.requests + settings.engine.queue_requests,
        "max_input_length": encoder.max_tokens * settings.limits.chunks_per_document,
        "max_client_batch_size": settings.limits.documents,
        "auto_truncate": True,
        "version": version(),
    }


@open_router.get("/v1/cluster/auth", summary="Are keys needed? (Xinference)")
async def cluster_auth(request: Request) -> dict[str, bool]:
    """Whether keys are needed: Xinference's client sends its key only if this is true."""
    return {"auth": dependencies(request).auth is not None}


@router.get("/v1/models", responses=problems(401, 503), summary="The models (OpenAI)")
async def list_models(request: Request) -> dict[str, Any]:
    """All names that select a model: the models' own, then the aliases."""
    models = _models(request)
    return {"object": "list", "data": [_card(models.choose(name)) for name in models.names()]}


# The parameter is described here: FastAPI would add a 422 that cannot occur.
_NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}


@router.get(
    "/v1/models/{name:path}",
    responses=problems(400, 401, 503),
    summary="One model (OpenAI, Xinference)",
    openapi_extra={"parameters": [_NAME]},
)
async def one_model(request: Request) -> dict[str, Any]:
    """The model that a name selects. Any name is accepted, so this is never 404."""
    name = request.path_params["name"].strip("/")
    return _card(_models(request).choose(name)) if name else await list_models(request)


def _card(choice: Choice) -> dict[str, Any]:
    """A model in the format of OpenAI's and Xinference's clients."""
    return {
        "id": choice.name,
        "object": "model",
        "created": 0,
        "owned_by": "quantum-rerank",
        "model_type": "rerank",
        "model_name": choice.reranker.encoder.name,
        "method": choice.method,
        "max_tokens": choice.reranker.encoder.max_tokens,
        "granularity": choice.reranker.encoder.granularity,
        "late_interaction": choice.reranker.encoder.late_interaction,
    }
