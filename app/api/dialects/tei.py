"""The dialect of Hugging Face's text-embeddings-inference: `texts` in, a plain list out."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from app.api.dialects.body import Body, Count, Language, MinScore, Model, Query, Texts
from app.api.dialects.schema import Exact, or_absent
from app.service.request import RerankRequest
from app.service.result import RerankResult, Row


class TeiBody(Body):
    """Text-embeddings-inference. Its truncation fields are ignored: a long text is read in chunks."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"query": "q", "texts": ["an owl song", "market prices"], "return_text": True}]}
    )

    query: Query
    texts: Texts
    raw_scores: bool | None = Field(None, description="Return log-odds instead of scores in [0, 1].")
    return_text: bool | None = Field(None, description="Return the texts.")
    top_n: Count | None = Field(None, description="Number of results; absent: all.")
    min_score: MinScore = None
    language: Language = None
    model: Model

    def to_request(self) -> RerankRequest:
        """Translate into a `RerankRequest`."""
        return RerankRequest(
            self.query,
            self.texts,
            self.texts,
            top_n=self.top_n,
            return_documents=bool(self.return_text),
            raw_scores=bool(self.raw_scores),
            min_score=self.min_score,
            language=self.language,
            model=self.model,
        )


def respond(result: RerankResult) -> list[dict[str, Any]]:
    """A plain list of rows, best first."""
    return [_rank(row) for row in result.rows]


def _rank(row: Row) -> dict[str, Any]:
    rank: dict[str, Any] = {"index": row.index, "score": row.score}
    if row.document is not None:
        rank["text"] = row.text
    return rank


class TeiRank(Exact):
    """One text's index and score; the response is a plain list of these, best first."""

    index: int
    score: float
    text: str = or_absent("With return_text.")
