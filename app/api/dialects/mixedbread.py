"""The dialect of mixedbread: `input` in, scores in `data`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from app.api.dialects.body import Body, Count, Documents, Language, MinScore, Model, Names, Query
from app.api.dialects.cohere import usage
from app.api.dialects.documents import text_of
from app.api.dialects.schema import Exact, Usage, or_absent
from app.service.request import RerankRequest
from app.service.result import RerankResult, Row


class MixedbreadBody(Body):
    """Mixedbread."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"query": "q", "input": ["an owl song"], "top_k": 1, "return_input": True}]}
    )

    query: Query
    input: Documents
    rank_fields: Names | None = None
    top_k: Count | None = Field(None, description="Number of results; absent: all.")
    return_input: bool | None = Field(None, description="Return the documents.")
    min_score: MinScore = None
    language: Language = None
    model: Model

    def to_request(self) -> RerankRequest:
        """Translate into a `RerankRequest`."""
        return RerankRequest(
            self.query,
            self.input,
            [text_of(document, index, self.rank_fields, ("input",)) for index, document in enumerate(self.input)],
            top_n=self.top_k,
            return_documents=bool(self.return_input),
            min_score=self.min_score,
            language=self.language,
            model=self.model,
        )


def respond(result: RerankResult) -> dict[str, Any]:
    """Mixedbread's list; documents as they were sent."""
    return {
        "object": "list",
        "model": result.model,
        "data": [_row(row) for row in result.rows],
        "usage": usage(result.ranking.tokens),
    }


def _row(row: Row) -> dict[str, Any]:
    document = {} if row.document is None else {"input": row.document}
    return {"object": "rank_result", "index": row.index, "score": row.score} | document


class MixedbreadResult(Exact):
    """One document's index and score."""

    object: Literal["rank_result"]
    index: int
    score: float
    input: str | dict[str, Any] = or_absent("With return_input.")


class MixedbreadResponse(Exact):
    """Mixedbread's list."""

    object: Literal["list"]
    model: str
    data: list[MixedbreadResult]
    usage: Usage
