"""The dialect of Alibaba Cloud's DashScope: query and documents in `input`, rows in `output.results`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.api.dialects.body import Body, Count, Documents, Model, Query
from app.api.dialects.documents import as_object, text_of
from app.api.dialects.schema import Exact, or_absent
from app.service.request import RerankRequest
from app.service.result import RerankResult, Row

PATH = "/api/v1/services/rerank/text-rerank/text-rerank"


class DashScopeInput(BaseModel):
    """What is ranked by what."""

    query: Query
    documents: Documents


class DashScopeParameters(BaseModel):
    """How it is answered. Others are ignored."""

    top_n: Count | None = Field(None, description="How many results; absent: all.")
    return_documents: bool | None = Field(None, description="Send the documents back.")


class DashScopeBody(Body):
    """DashScope (Alibaba Cloud Model Studio)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"input": {"query": "q", "documents": ["an owl song"]}, "parameters": {"top_n": 1}}]
        }
    )

    input: DashScopeInput
    parameters: DashScopeParameters | None = None
    model: Model

    def to_request(self) -> RerankRequest:
        """Translate; InvalidRequest for a document without text."""
        asked, parameters = self.input, self.parameters or DashScopeParameters()
        return RerankRequest(
            asked.query,
            asked.documents,
            [text_of(document, at, field=("input", "documents")) for at, document in enumerate(asked.documents)],
            top_n=parameters.top_n,
            return_documents=bool(parameters.return_documents),
            model=self.model,
        )


def respond(result: RerankResult) -> dict[str, Any]:
    """DashScope's results."""
    return {
        "output": {"results": [_row(row) for row in result.rows]},
        "usage": {"total_tokens": result.ranking.tokens},
        "request_id": result.id,
    }


def _row(row: Row) -> dict[str, Any]:
    shown = {} if row.document is None else {"document": as_object(row.document, row.text)}
    return {"index": row.index, "relevance_score": row.score} | shown


class DashScopeResult(Exact):
    """One document's place."""

    index: int
    relevance_score: float
    document: dict[str, Any] = or_absent("With return_documents.")


class DashScopeOutput(Exact):
    """What was asked for, best result first."""

    results: list[DashScopeResult]


class DashScopeUsage(Exact):
    """Tokens read."""

    total_tokens: int


class DashScopeResponse(Exact):
    """DashScope's envelope."""

    output: DashScopeOutput
    usage: DashScopeUsage
    request_id: str
