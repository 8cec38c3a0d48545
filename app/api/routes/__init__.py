"""The routes of the service."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from app.api.dependencies import allow
from app.api.problems import ProblemResponse
from app.api.routes import (
    admin,
    aliases,
    collections,
    documents,
    embeddings,
    feedback,
    health,
    jobs,
    matches,
    models,
    rerank,
    similarity,
    stream,
    usage,
    websocket,
)

# Models that the OpenAPI description references.
MODELS: tuple[type[BaseModel], ...] = (
    *rerank.MODELS,
    *stream.MODELS,
    *similarity.MODELS,
    *matches.MODELS,
    *embeddings.MODELS,
    *collections.MODELS,
    *documents.MODELS,
    *jobs.MODELS,
    *aliases.MODELS,
    *feedback.MODELS,
    *usage.MODELS,
    *admin.MODELS,
    *health.MODELS,
    ProblemResponse,
)

router: APIRouter = APIRouter()
# Looked for in this order: what is called most comes first.
ranking = (rerank.router, stream.router, websocket.router, similarity.router, matches.router, embeddings.router)
for part in (*ranking, collections.searching, feedback.router):
    router.include_router(part, dependencies=[Depends(allow("user"))])
for part in (health.router, models.open_router):
    router.include_router(part)
for part in (collections.writing, documents.writing, jobs.writing, aliases.writing):
    router.include_router(part, dependencies=[Depends(allow("user", to_write=True))])
collection_parts = (collections.reading, documents.reading, jobs.reading, aliases.reading)
for part in (models.router, usage.router, *collection_parts):
    router.include_router(part, dependencies=[Depends(allow("read-only"))])
for part in (admin.router, usage.admin_router, feedback.admin_router):
    router.include_router(part, dependencies=[Depends(allow("admin"))])
