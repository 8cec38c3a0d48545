"""From a request to a response: which documents, which ranking, and the envelope round it. Runs in a worker."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from app.errors import InvalidRequest, TooLarge
from app.open_collections import OpenCollections
from app.reranker import Ranking, Reranker
from app.schemas import RerankRequest
from app.scoring import Method
from app.settings import Settings
from retrieval.deadline import Deadline

DEFAULT_METHOD: Method = "hybrid"

Document = dict[str, Any]


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


def deadline_of(request: RerankRequest, settings: Settings) -> Deadline:
    """When the answer to a request that just came in is due."""
    milliseconds = settings.engine.deadline_ms if request.deadline_ms is None else request.deadline_ms
    return Deadline.after(milliseconds / 1e3) if milliseconds else Deadline()


def answer(
    reranker: Reranker,
    request: RerankRequest,
    deadline: Deadline,
    settings: Settings,
    collections: OpenCollections,
    request_id: str,
) -> bytes:
    """The response body to a request within the limits."""
    method = request.method or DEFAULT_METHOD
    exclude = tuple(request.exclude or ())
    documents: Sequence[Document] | None = None
    if request.documents is not None:
        ranking = reranker.rerank(request.query, request.texts, method=method, exclude=exclude, deadline=deadline)
        shown = ranking.order[: request.top_n]
        if request.return_documents:
            documents = [_as_object(request.documents[at]) for at in shown.tolist()]
    else:
        name = request.collection or settings.default_collection
        if name is None:
            raise InvalidRequest("there is nothing to rank: send `documents`, or name a `collection` to search")
        collection = collections.get(name)
        positions, ranking = reranker.search(
            request.query,
            collection,
            candidates=settings.candidates,
            method=method,
            exclude=exclude,
            deadline=deadline,
        )
        shown = ranking.order[: request.top_n]
        if request.return_documents is not False:
            documents = [asdict(passage) for passage in collection.passages(positions[shown])]
    rows = _rows(ranking, shown, documents, explain=bool(request.explain))
    return orjson.dumps(_envelope(rows, ranking, method, request, reranker.encoder.name, request_id))


def _as_object(document: str | Document) -> Document:
    return {"text": document} if isinstance(document, str) else document


def _rows(
    ranking: Ranking, shown: NDArray[np.int64], documents: Sequence[Document] | None, *, explain: bool
) -> list[dict[str, Any]]:
    """The results at these positions; documents: theirs, in the same order."""
    rows: list[dict[str, Any]] = []
    for place, index in enumerate(shown.tolist()):
        row: dict[str, Any] = {"index": index, "relevance_score": float(ranking.scores[index])}
        if documents is not None:
            row["document"] = documents[place]
        if explain:
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
            "degraded": ["deadline"] if ranking.cut else [],
        },
        "usage": {"prompt_tokens": ranking.tokens, "completion_tokens": 0, "total_tokens": ranking.tokens},
    }
