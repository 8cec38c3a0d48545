"""Requests and responses of token matches: which tokens of documents a query's tokens met."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from app.api.dialects.body import Documents, Model, Query
from app.api.dialects.documents import text_of
from app.api.dialects.schema import Exact
from app.api.dialects.similarity import Milliseconds
from app.ranking.methods import Method
from app.ranking.token_matches import TextMatches, TokenMatches

_DIGITS = 4  # of a fidelity


class MatchesBody(BaseModel):
    """A query and documents."""

    model_config = ConfigDict(
        frozen=True,
        protected_namespaces=(),
        json_schema_extra={
            "examples": [{"query": "which bird sings at night", "documents": ["The nightingale sings after dusk."]}]
        },
    )

    query: Query
    documents: Documents = Field(description="Texts, or objects with a `text`.")
    deadline_ms: Milliseconds = None
    model: Model

    @property
    def method(self) -> Method:
        """Tokens are compared by fidelity."""
        return "quantum"

    def texts(self) -> list[str]:
        """The text of each document; InvalidRequest for one without text."""
        return [text_of(document, index) for index, document in enumerate(self.documents)]


def respond(query: TokenMatches, model: str, request_id: str) -> dict[str, Any]:
    """The matches of each document, in the order of the request."""
    return {
        "id": request_id,
        "object": "token_matches",
        "model": model,
        "query": [{"start": start, "end": end} for start, end in query.query.tolist()],
        "results": [_result(index, found) for index, found in enumerate(query.texts())],
    }


def _result(index: int, found: TextMatches) -> dict[str, Any]:
    tokens = zip(found.spans.tolist(), _rounded(found.fidelity), found.query_token.tolist(), strict=True)
    best = zip(found.token.tolist(), _rounded(found.best), strict=True)
    return {
        "index": index,
        "tokens": [
            {"start": start, "end": end, "fidelity": fidelity, "match": at} for (start, end), fidelity, at in tokens
        ],
        "query": [{"fidelity": fidelity, "match": None if at < 0 else at} for at, fidelity in best],
    }


def _rounded(fidelities: NDArray[np.float32]) -> list[float]:
    """As few digits as are meant: a float32 that is rounded has seventeen as a float64."""
    rounded: list[float] = fidelities.astype(np.float64).round(_DIGITS).tolist()
    return rounded


class TokenSpan(Exact):
    """A token of the query: code points [start, end)."""

    start: int
    end: int


class TokenMatch(TokenSpan):
    """A token of a document: code points [start, end) of its ranked text."""

    fidelity: float = Field(ge=0, le=1, description="The best with a token of the query.")
    match: int = Field(description="Which token of the query that is.")


class QueryTokenMatch(Exact):
    """What a token of the query met in a document."""

    fidelity: float = Field(ge=0, le=1, description="The best with a token of the document.")
    match: int | None = Field(description="Which token of the document that is; null if none was read.")


class DocumentMatches(Exact):
    """The tokens of one document."""

    index: int = Field(description="Position among the documents sent.")
    tokens: list[TokenMatch] = Field(description="In the order of the text; empty if it was not read in time.")
    query: list[QueryTokenMatch] = Field(description="For each token of the query, in its order.")


class MatchesResponse(Exact):
    """Which tokens of each document the query's tokens met."""

    id: str
    object: Literal["token_matches"]
    model: str
    query: list[TokenSpan] = Field(description="The query's tokens, as far as it is read.")
    results: list[DocumentMatches]
