"""From a request to a response: which documents, which ranking, and the envelope round it. Runs in a worker."""

from __future__ import annotations

import math
from typing import Any

import orjson

from app.errors import InvalidRequest, TooLarge
from app.open_collections import OpenCollections
from app.reranker import Method, Ranking, Reranker
from app.schemas import RerankRequest
from app.settings import Settings

DEFAULT_METHOD: Method = "hybrid"


def check_limits(request: RerankRequest, settings: Settings) -> None:
    """Refuse a request over a limit, naming both numbers."""
    limits = settings.limits
    count = len(request.documents or [])
    if count > limits.documents:
        raise TooLarge(f"{count} documents were sent and at most {limits.documents} are taken; send them in parts")
    if len(request.query) > limits.query_characters:
        raise TooLarge(f"the query has {len(request.query)} characters and at most {limits.query_characters} are taken")
    excluded = len(request.exclude or [])
    if excluded > limits.excluded_texts:
        raise TooLarge(f"{excluded} texts are excluded and at most {limits.excluded_texts} are taken")


def answer(
    reranker: Reranker, request: RerankRequest, settings: Settings, collections: OpenCollections, request_id: str
) -> bytes:
    """The response body to a request within the limits."""
    method = request.method or DEFAULT_METHOD
    exclude = tuple(request.exclude or ())
    if request.documents is not None:
        ranking = reranker.rerank(request.query, request.texts, method=method, exclude=exclude)
        documents = [{"text": item} if isinstance(item, str) else item for item in request.documents]
        rows = _rows(ranking, request, documents if request.return_documents else None)
    else:
        name = request.collection or settings.default_collection
        if name is None:
            raise InvalidRequest("there is nothing to rank: send `documents`, or name a `collection` to search")
        collection = collections.get(name)
        positions, ranking = reranker.search(
            request.query, collection, candidates=settings.candidates, method=method, exclude=exclude
        )
        found = [
            {"id": passage.id, "title": passage.title, "text": passage.text}
            for passage in collection.passages(positions)
        ]
        rows = _rows(ranking, request, None if request.return_documents is False else found)
    return orjson.dumps(_envelope(rows, ranking, method, request, reranker.encoder.name, request_id))


def _rows(ranking: Ranking, request: RerankRequest, documents: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for index in ranking.order[: request.top_n].tolist():
        row: dict[str, Any] = {"index": index, "relevance_score": float(ranking.scores[index])}
        if documents is not None:
            row["document"] = documents[index]
        if request.explain:
            scores = {name: float(values[index]) for name, values in ranking.rankers.items()}
            row["scores"] = {name: None if math.isnan(score) else score for name, score in scores.items()}
        rows.append(row)
    return rows


def _envelope(
    rows: list[dict[str, Any]], ranking: Ranking, method: Method, request: RerankRequest, model: str, request_id: str
) -> dict[str, Any]:
    return {
        "id": request_id,
        "object": "rerank",
        "model": model if request.model is None else str(request.model),
        "results": rows,
        "meta": {
            "method": method,
            "timings_ms": {stage: round(ms, 3) for stage, ms in ranking.timings_ms.items()},
            "encoded": ranking.encoded,
            "degraded": [],
        },
        "usage": {"prompt_tokens": ranking.tokens, "completion_tokens": 0, "total_tokens": ranking.tokens},
    }
