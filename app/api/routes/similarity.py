"""How well texts answer others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api.authorize import caller
from app.api.dialects.body import validate
from app.api.dialects.similarity import (
    BatchSimilarityBody,
    BatchSimilarityResponse,
    SimilarityBody,
    SimilarityResponse,
    respond,
    respond_to_batch,
)
from app.api.middleware.request_record import observed
from app.api.openapi import content, example, reference
from app.api.problems import PROBLEMS
from app.api.rate_limit import paid
from app.api.request_body import read_fields
from app.api.work import worked
from app.engine.model_registry import Models
from app.quotas.quotas import Cost
from app.ranking.methods import DEFAULT_METHOD
from app.service.cost import of_similarity
from app.service.rerank import deadline_of
from app.service.similarity import check_counts, circuit_of, compare
from app.settings import LimitSettings
from retrieval.deadline import Deadline
from retrieval.encoder.chunks import Reading

Route = Callable[[Request], Awaitable[Response]]

router = APIRouter(tags=["similarity"])


async def similarity(request: Request) -> Response:
    """How well one text answers another, by each method, in [0, 1].

    `text1` is the query: the quantum score is another one the other way round. Classical is (1 + cosine)/2, quantum the
    fidelity that /rerank scores by with this method, hybrid the weighted mean of the two. None depends on anything but
    the two texts, so scores of different requests may be compared. By default there is no deadline.
    """
    limits = request.app.state.service.settings.limits

    async def read() -> SimilarityBody:
        body = validate(SimilarityBody, await read_fields(request))
        check_counts([body.text1], 1, limits)
        return body

    seen = observed(request)
    body, cost = await paid(  # every method is told
        request, seen, read, lambda body, _: of_similarity([body.text1], [body.text2], "hybrid", limits)
    )
    deadline = _deadline(request, body.deadline_ms)

    def work(models: Models) -> bytes:
        choice = models.choose(body.model)
        reading = Reading(max_chunks=limits.chunks_per_document)
        found = compare(choice.reranker, [body.text1], [body.text2], deadline=deadline, reading=reading)
        method, circuit = body.method or choice.method or DEFAULT_METHOD, circuit_of(choice.reranker)
        seen.worked(1, found.tokens, found.laps, method, choice.reranker.encoder.name)
        with seen.watch("serialise"):
            return orjson.dumps(respond(found, method, circuit, choice.name, request.state.request_id))

    return await worked(request, deadline, work, cost, [body.text2], body.model)


async def batch_similarity(request: Request) -> Response:
    """How well each document answers each query: the scores of /similarity, best first.

    Each pair for itself: nothing changes with what else is sent. To order one query's candidates use /rerank, which
    also weighs them against each other. A query's time is that of a rerank once the documents are encoded.
    """
    limits = request.app.state.service.settings.limits

    async def read() -> tuple[BatchSimilarityBody, list[str]]:
        body = validate(BatchSimilarityBody, await read_fields(request))
        check_counts(body.queries, len(body.documents), limits)
        return body, body.texts()

    seen = observed(request)
    (body, texts), cost = await paid(request, seen, read, lambda read, models: _cost(*read, models, limits))
    deadline = _deadline(request, body.deadline_ms)

    def work(models: Models) -> bytes:
        choice = models.choose(body.model)
        method = body.method or choice.method or DEFAULT_METHOD
        needed = "hybrid" if body.explain else method
        reading = Reading(max_chunks=limits.chunks_per_document)
        found = compare(choice.reranker, body.queries, texts, method=needed, deadline=deadline, reading=reading)
        seen.worked(len(texts), found.tokens, found.laps, method, choice.reranker.encoder.name)
        with seen.watch("serialise"):
            return orjson.dumps(respond_to_batch(found, body, method, choice.name, request.state.request_id))

    return await worked(request, deadline, work, cost, texts, body.model)


def _cost(body: BatchSimilarityBody, texts: Sequence[str], models: Models, limits: LimitSettings) -> Cost:
    method = body.method or models.choose(body.model).method or DEFAULT_METHOD
    return of_similarity(body.queries, texts, "hybrid" if body.explain else method, limits)


def _deadline(request: Request, milliseconds: float | None) -> Deadline:
    """Where /rerank's default deadline costs some documents their states, here it would cost the whole answer."""
    return deadline_of(milliseconds or 0, request.app.state.service.settings, caller(request))


MODELS: tuple[type[BaseModel], ...] = (  # that the description refers to
    SimilarityBody,
    SimilarityResponse,
    BatchSimilarityBody,
    BatchSimilarityResponse,
)
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: PROBLEMS[status] for status in (400, 401, 403, 413, 422, 429, 503)
}
_PROBLEMS[504] = PROBLEMS[503] | {"description": "Not all was compared by `deadline_ms`."}


def _add(name: str, route: Route, summary: str, body: type[BaseModel], response: type[BaseModel]) -> None:
    for path in (f"/{name}", f"/v1/{name}"):
        router.add_api_route(
            path,
            route,
            methods=["POST"],
            summary=summary,
            responses=_PROBLEMS | {200: {"description": response.__doc__, **content(reference(response))}},
            openapi_extra={"requestBody": {"required": True, **content(reference(body), {"example": example(body)})}},
        )


_add("similarity", similarity, "Compare two texts", SimilarityBody, SimilarityResponse)
_add(
    "batch-similarity",
    batch_similarity,
    "Compare every query with every document",
    BatchSimilarityBody,
    BatchSimilarityResponse,
)
