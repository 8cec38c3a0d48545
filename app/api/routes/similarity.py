"""Similarity of texts: one pair, or every query with every document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api.dependencies import caller, dependencies
from app.api.dialects.body import check_lists, fields_of, validate
from app.api.dialects.similarity import (
    BatchSimilarityBody,
    BatchSimilarityResponse,
    SimilarityBody,
    SimilarityResponse,
    respond,
    respond_to_batch,
)
from app.api.exchange import answer, charged, parsed
from app.api.middleware.request_record import note, record_of
from app.api.openapi import content, example, reference
from app.api.problems import PROBLEMS, problems
from app.service.result import WorkDone
from app.service.similarity import Body, ResolvedPairs, Similarities, circuit_of, compare, resolve
from app.telemetry.request_record import RequestRecord

Route = Callable[[Request], Awaitable[Response]]

router = APIRouter(tags=["similarity"])


async def similarity(request: Request) -> Response:
    """The similarity of two texts by each method, in [0, 1].

    `text1` is the query; the quantum score is not symmetric. Classical is (1 + cosine)/2, quantum the fidelity that
    /rerank uses for this method, hybrid the calibrated probability that `text2` is relevant, which /rerank gives a lone
    document. Scores depend on the two texts only, so those of different requests are comparable. By default the
    deadline is the longest allowed.
    """

    async def read() -> ResolvedPairs[SimilarityBody]:
        most = dependencies(request).settings.limits.documents
        body = await parsed(request, lambda raw: validate(SimilarityBody, check_lists(fields_of(raw), most)))
        return _resolve(request, body, [body.text1], [body.text2], explain=True)  # the response has all methods

    record = record_of(request)
    resolved = await charged(request, read)

    def work() -> bytes:
        similarities, circuit = _compare(resolved, record), circuit_of(resolved.choice.reranker)
        with record.watch("serialise"):
            return orjson.dumps(
                respond(similarities, resolved.method, circuit, resolved.choice.name, record.request_id)
            )

    return await answer(request, resolved, work)


async def batch_similarity(request: Request) -> Response:
    """The similarity of each document to each query, with the scores of /similarity, best first.

    Each pair is scored independently of the others. To rank one query's candidates use /rerank, which also compares
    them with each other. Once the documents are encoded, a query takes as long as a rerank.
    """

    async def read() -> ResolvedPairs[BatchSimilarityBody]:
        most = dependencies(request).settings.limits.documents
        body = await parsed(request, lambda raw: validate(BatchSimilarityBody, check_lists(fields_of(raw), most)))
        return _resolve(request, body, body.queries, body.texts(), explain=bool(body.explain))

    record = record_of(request)
    resolved = await charged(request, read)

    def work() -> bytes:
        similarities = _compare(resolved, record)
        with record.watch("serialise"):
            return orjson.dumps(
                respond_to_batch(similarities, resolved.asked, resolved.method, resolved.choice.name, record.request_id)
            )

    return await answer(request, resolved, work)


def _resolve(
    request: Request, body: Body, queries: Sequence[str], texts: Sequence[str], *, explain: bool
) -> ResolvedPairs[Body]:
    deps = dependencies(request)
    models = deps.engine.ready_models()
    resolved = resolve(body, queries, texts, models, deps.settings, caller(request), explain=explain)
    record_of(request).units = resolved.cost.units
    return resolved


def _compare(resolved: ResolvedPairs[Any], record: RequestRecord) -> Similarities:
    reranker = resolved.choice.reranker
    similarities = compare(
        reranker,
        resolved.queries,
        resolved.texts,
        method=resolved.needed,
        deadline=resolved.deadline,
        reading=resolved.reading,
    )
    name, method = reranker.encoder.name, resolved.method
    note(record, WorkDone(len(resolved.texts), similarities.tokens, name, method, laps=similarities.laps))
    return similarities


MODELS: tuple[type[BaseModel], ...] = (  # referenced by the OpenAPI description
    SimilarityBody,
    SimilarityResponse,
    BatchSimilarityBody,
    BatchSimilarityResponse,
)
_PROBLEMS = problems(400, 401, 403, 408, 413, 422, 429, 503)
_PROBLEMS[504] = PROBLEMS[504] | {"description": "Not all texts were compared by `deadline_ms`."}


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
