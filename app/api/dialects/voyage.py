"""The dialect of Voyage: `top_k`, `truncation`, and the rows in `data`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from app.api.dialects.body import Body, Count, Documents, Language, MinScore, Model, Query
from app.api.dialects.documents import text_of
from app.api.dialects.schema import Exact, or_absent
from app.service.request import RerankRequest
from app.service.result import RerankResult, Row


class VoyageBody(Body):
    """Voyage. `truncation` is ignored: a long document is read in chunks."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"query": "q", "documents": ["an owl song"], "model": "rerank-2.5", "top_k": 1}]
        }
    )

    query: Query
    documents: Documents
    top_k: Count | None = Field(None, description="Number of results; absent: all.")
    truncation: bool | None = None
    return_documents: bool | None = None
    min_score: MinScore = None
    language: Language = None
    model: Model

    def to_request(self) -> RerankRequest:
        """Translate into a `RerankRequest`."""
        return RerankRequest(
            self.query,
            self.documents,
            [text_of(document, index) for index, document in enumerate(self.documents)],
            top_n=self.top_k,
            return_documents=bool(self.return_documents),
            min_score=self.min_score,
            language=self.language,
            model=self.model,
        )


def respond(result: RerankResult) -> dict[str, Any]:
    """Voyage's list, with documents as strings."""
    return {
        "object": "list",
        "data": [_row(row) for row in result.rows],
        "model": result.model,
        "usage": {"total_tokens": result.ranking.tokens},
    }


def _row(row: Row) -> dict[str, Any]:
    document = {} if row.document is None else {"document": row.text}
    return {"index": row.index, "relevance_score": row.score} | document


class VoyageResult(Exact):
    """One document's index and score."""

    index: int
    relevance_score: float
    document: str = or_absent("With return_documents.")


class VoyageUsage(Exact):
    """Tokens of the encoded texts."""

    total_tokens: int


class VoyageResponse(Exact):
    """Voyage's list."""

    object: Literal["list"]
    data: list[VoyageResult]
    model: str
    usage: VoyageUsage
