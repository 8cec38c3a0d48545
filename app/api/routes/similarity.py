"""How well texts answer others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api.authorize import caller
from app.api.dependencies import dependencies
from app.api.dialects.body import fields_of, validate
from app.api.dialects.similarity import (
    BatchSimilarityBody,
    BatchSimilarityResponse,
    SimilarityBody,
    SimilarityResponse,
    respond,
    respond_to_batch,
)
from app.api.exchange import answer, parsed
from app.api.middleware.request_record import note, record_of
from app.api.openapi import content, example, reference
from app.api.problems import PROBLEMS
from app.api.rate_limit import charged
from app.service.result import WorkDone
from app.service.similarity import Body, ResolvedPairs, Similarities, circuit_of, compare, resolve
from app.telemetry.request_record import RequestRecord

Route = Callable[[Request], Awaitable[Response]]

router = APIRouter(tags=["similarity"])


async def similarity(request: Request) -> Response:
    """How well one text answers another, by each method, in [0, 1].

    `text1` is the query: the quantum score is another one the other way round. Classical is (1 + cosine)/2, quantum the
    fidelity that /rerank scores by with this method, hybrid the weighted mean of the two. None depends on anything but
    the two texts, so scores of different requests may be compared. By default there is no deadline.
    """

    async def read() -> ResolvedPairs[SimilarityBody]:
        most = dependencies(request).settings.limits.documents
        body = await parsed(request, lambda raw: validate(SimilarityBody, fields_of(raw, most)))
        return _resolved(request, body, [body.text1], [body.text2], explain=True)  # every method is told

    on, record = dependencies(request), record_of(request)
    resolved = await (charged(request, read) if on.auth else read())

    def work() -> bytes:
        found, circuit = _compared(resolved, record), circuit_of(resolved.choice.reranker)
        with record.watch("serialise"):
            return orjson.dumps(respond(found, resolved.method, circuit, resolved.choice.name, record.request_id))

    return await answer(request, resolved, work)


async def batch_similarity(request: Request) -> Response:
    """How well each document answers each query: the scores of /similarity, best first.

    Each pair for itself: nothing changes with what else is sent. To order one query's candidates use /rerank, which
    also weighs them against each other. A query's time is that of a rerank once the documents are encoded.
    """

    async def read() -> ResolvedPairs[BatchSimilarityBody]:
        most = dependencies(request).settings.limits.documents
        body = await parsed(request, lambda raw: validate(BatchSimilarityBody, fields_of(raw, most)))
        return _resolved(request, body, body.queries, body.texts(), explain=bool(body.explain))

    on, record = dependencies(request), record_of(request)
    resolved = await (charged(request, read) if on.auth else read())

    def work() -> bytes:
        found = _compared(resolved, record)
        with record.watch("serialise"):
            return orjson.dumps(
                respond_to_batch(found, resolved.asked, resolved.method, resolved.choice.name, record.request_id)
            )

    return await answer(request, resolved, work)


def _resolved(
    request: Request, body: Body, queries: Sequence[str], texts: Sequence[str], *, explain: bool
) -> ResolvedPairs[Body]:
    on = dependencies(request)
    models = on.engine.ready_models()
    resolved = resolve(body, queries, texts, models, on.settings, caller(request), explain=explain)
    record_of(request).units = resolved.cost.units
    return resolved


def _compared(resolved: ResolvedPairs[Any], record: RequestRecord) -> Similarities:
    reranker = resolved.choice.reranker
    found = compare(
        reranker,
        resolved.queries,
        resolved.texts,
        method=resolved.needed,
        deadline=resolved.deadline,
        reading=resolved.reading,
    )
    name, method = reranker.encoder.name, resolved.method
    note(record, WorkDone(len(resolved.texts), found.tokens, name, method, laps=found.laps))
    return found


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
