"""The dialect of Alibaba Cloud's DashScope: query and documents in `input`, rows in `output.results`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.api.dialects.body import Body, Count, Documents, Language, MinScore, Model, Query
from app.api.dialects.documents import as_object, text_of
from app.api.dialects.schema import Exact, or_absent
from app.service.request import RerankRequest
from app.service.result import RerankResult, Row

PATH = "/api/v1/services/rerank/text-rerank/text-rerank"
COMPATIBLE_PATH = "/compatible-api/v1/reranks"  # of newer models, in Cohere's dialect


class DashScopeInput(BaseModel):
    """The query and the documents."""

    query: Query
    documents: Documents


class DashScopeParameters(BaseModel):
    """Options. Others are ignored."""

    top_n: Count | None = Field(None, description="Number of results; absent: all.")
    return_documents: bool | None = Field(None, description="Return the documents.")


class DashScopeBody(Body):
    """DashScope (Alibaba Cloud Model Studio)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"input": {"query": "q", "documents": ["an owl song"]}, "parameters": {"top_n": 1}}]
        }
    )

    input: DashScopeInput
    parameters: DashScopeParameters | None = None
    min_score: MinScore = None
    language: Language = None
    model: Model

    def to_request(self) -> RerankRequest:
        """Translate into a `RerankRequest`; InvalidRequest for a document without text."""
        parameters = self.parameters or DashScopeParameters()
        return RerankRequest(
            self.input.query,
            self.input.documents,
            [
                text_of(document, index, field=("input", "documents"))
                for index, document in enumerate(self.input.documents)
            ],
            top_n=parameters.top_n,
            return_documents=bool(parameters.return_documents),
            min_score=self.min_score,
            language=self.language,
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
    document = {} if row.document is None else {"document": as_object(row.document, row.text)}
    return {"index": row.index, "relevance_score": row.score} | document


class DashScopeResult(Exact):
    """One document's index and score."""

    index: int
    relevance_score: float
    document: dict[str, Any] = or_absent("With return_documents.")


class DashScopeOutput(Exact):
    """The results, best first."""

    results: list[DashScopeResult]


class DashScopeUsage(Exact):
    """Tokens of the encoded texts."""

    total_tokens: int


class DashScopeResponse(Exact):
    """DashScope's envelope."""

    output: DashScopeOutput
    usage: DashScopeUsage
    request_id: str
