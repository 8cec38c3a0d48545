"""The dialect of Pinecone, detected by its header: documents as objects, scores in `data`."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from app.api.dialects.body import Body, Count, Documents, Language, MinScore, Model, Names, Query
from app.api.dialects.documents import as_object, text_of
from app.api.dialects.schema import Exact, or_absent
from app.service.request import RerankRequest
from app.service.result import RerankResult, Row

HEADER = "x-pinecone-api-version"


class PineconeBody(Body):
    """Pinecone."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"query": "q", "documents": [{"text": "an owl song"}], "top_n": 1}]}
    )

    query: Query
    documents: Documents
    rank_fields: Names | None = None
    top_n: Count | None = Field(None, description="Number of results; absent: all.")
    return_documents: bool | None = Field(None, description="Absent: documents are returned, as Pinecone does.")
    min_score: MinScore = None
    language: Language = None
    model: Model

    def to_request(self) -> RerankRequest:
        """Translate into a `RerankRequest`."""
        return RerankRequest(
            self.query,
            self.documents,
            [text_of(document, index, self.rank_fields) for index, document in enumerate(self.documents)],
            top_n=self.top_n,
            return_documents=self.return_documents is not False,
            min_score=self.min_score,
            language=self.language,
            model=self.model,
        )


def respond(result: RerankResult) -> dict[str, Any]:
    """Pinecone's rows; a request counts as one unit, as for up to 100 documents at Pinecone."""
    return {"model": result.model, "data": [_row(row) for row in result.rows], "usage": {"rerank_units": 1}}


def _row(row: Row) -> dict[str, Any]:
    document = {} if row.document is None else {"document": as_object(row.document, row.text)}
    return {"index": row.index, "score": row.score} | document


class PineconeResult(Exact):
    """One document's index and score."""

    index: int
    score: float
    document: dict[str, Any] = or_absent("Unless return_documents is false.")


class PineconeUsage(Exact):
    """Pinecone's usage count."""

    rerank_units: int


class PineconeResponse(Exact):
    """Pinecone's rows."""

    model: str
    data: list[PineconeResult]
    usage: PineconeUsage
