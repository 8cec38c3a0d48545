"""What streams tell of a request: its orders on the way, and in the end its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.service.result import RerankResult

Stage = Literal["prescore", "refined"]
Id = str | int | float

_ID_CHARACTERS = 128


class _Exact(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Place(_Exact):
    """One document's place so far."""

    index: int = Field(description="Position among the documents sent, or among those retrieved.")
    relevance_score: float = Field(description="Comparable within one order only.")


class Order(_Exact):
    """An order on the way to the answer, best first."""

    stage: Stage = Field(description="prescore: by words alone; refined: by what was read so far.")
    results: list[Place]
    encoded: int = Field(description="Documents scored by their states so far; the others stand below them.")


def order(result: RerankResult) -> dict[str, Any]:
    """An `Order` of what the result would be so far."""
    stage: Stage = "refined" if result.ranking.encoded else "prescore"
    rows = [{"index": row.index, "relevance_score": row.score} for row in result.rows]
    return {"stage": stage, "results": rows, "encoded": result.ranking.encoded}


def id_of(fields: Mapping[str, Any]) -> Id | None:
    """What the client calls a request in a frame: a number or a short text; None for anything else."""
    named = fields.get("id")
    if isinstance(named, str):
        return named if 0 < len(named) <= _ID_CHARACTERS else None
    return named if isinstance(named, int | float) and not isinstance(named, bool) else None
