"""Events of streams: partial rankings, and request ids of WebSocket frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from app.api.dialects.schema import Exact
from app.service.result import RerankResult

Stage = Literal["prescore", "refined"]
Id = str | int | float

_ID_CHARACTERS = 128
_EXACT = 2**53  # larger numbers have no exact value in most JSON parsers, ours among them


class Place(Exact):
    """One document's index and score in a partial ranking."""

    index: int = Field(description="Position among the documents sent or retrieved.")
    relevance_score: float = Field(
        description="Probability that the document is relevant, by what was read so far; comparable across requests."
    )


class Order(Exact):
    """A partial ranking, best first."""

    stage: Stage = Field(description="prescore: by BM25 only; refined: also by the documents encoded so far.")
    results: list[Place]
    encoded: int = Field(
        description="Number of documents scored with their encoded states so far; the others rank below them."
    )


def order(result: RerankResult) -> dict[str, Any]:
    """The `Order` event of a partial result."""
    stage: Stage = "refined" if result.ranking.encoded else "prescore"
    rows = [{"index": row.index, "relevance_score": row.score} for row in result.rows]
    return {"stage": stage, "results": rows, "encoded": result.ranking.encoded}


def id_of(fields: Mapping[str, Any]) -> Id | None:
    """The client's id of a request in a frame: a number or a short text; None for anything else."""
    request_id = fields.get("id")
    if isinstance(request_id, str):
        return request_id if 0 < len(request_id) <= _ID_CHARACTERS else None
    if isinstance(request_id, int | float) and not isinstance(request_id, bool) and abs(request_id) <= _EXACT:
        return request_id
    return None
